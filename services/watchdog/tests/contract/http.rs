//! The http mode: the process of the function, and what becomes of requests.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Mutex, mpsc},
};

use crate::{
    support::{
        self, Watchdog, connect, free_port, is_closed, long_time, receive, receive_chunk,
        receive_head, run, running, script, send, until,
    },
    upstream::Upstream,
};

/// A watchdog in front of `upstream`, whose own process just waits.
fn before(upstream: &Upstream, variables: &[(&str, &str)]) -> Watchdog {
    let given = [
        ("mode", "http"),
        ("fprocess", "sleep 1000"),
        ("upstream_url", upstream.url.as_str()),
    ];
    Watchdog::start(&[&given, variables].concat())
}

/// A watchdog whose process runs this, and listens nowhere.
fn deaf(text: &str, variables: &[(&str, &str)]) -> Watchdog {
    let script = script(text);
    let url = format!("http://127.0.0.1:{}", free_port());
    let given = [
        ("mode", "http"),
        ("fprocess", script.as_str()),
        ("upstream_url", url.as_str()),
    ];
    Watchdog::launch(&[&given, variables].concat())
}

#[test]
fn a_request_reaches_the_process_as_it_was_sent() {
    let upstream = Upstream::mirror();
    let watchdog = before(&upstream, &[]);
    let headers = ["X-Call-Id: abc", "Accept: a", "Accept: b", "Keep-Alive: 5"];
    let answer = watchdog.request("PATCH", "/a%2Fb//c?x=%20&y", &headers, b"hello");
    assert_eq!(answer.status, 200);
    let seen = answer.text();
    assert!(
        seen.starts_with("PATCH /a%2Fb//c?x=%20&y HTTP/1.1\r\n"),
        "{seen}"
    );
    for line in [
        "Host: node:8080",
        "X-Call-Id: abc",
        "Accept: a",
        "Accept: b",
        "Content-Length: 5",
    ] {
        assert!(seen.lines().any(|have| have == line), "{line}\n{seen}");
    }
    assert!(!seen.contains("Keep-Alive"), "{seen}");
    assert!(seen.ends_with("\r\n\r\nhello"), "{seen}");
}

#[test]
fn an_answer_reaches_the_caller_as_the_process_gave_it() {
    let upstream = Upstream::answering(
        "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nhi",
    );
    let watchdog = before(&upstream, &[]);
    let answer = watchdog.post(b"");
    assert_eq!((answer.status, answer.text()), (302, "hi"));
    assert_eq!(answer.header("location"), Some("/elsewhere"));
    assert_eq!(answer.head.matches("Set-Cookie: ").count(), 2);
    assert_eq!(answer.header("keep-alive"), None);
    assert_eq!(answer.header("x-openfaas-internal"), None);
    let seconds: f64 = answer
        .header("x-duration-seconds")
        .unwrap()
        .parse()
        .unwrap();
    assert!(seconds > 0.0);
}

#[test]
fn an_answer_may_have_many_headers() {
    let upstream = Upstream::start(|connection| {
        connection.request();
        let headers: String = (0..200).map(|n| format!("X-{n}: {n}\r\n")).collect();
        connection.write(format!(
            "HTTP/1.1 200 OK\r\n{headers}Content-Length: 0\r\n\r\n"
        ));
    });
    let watchdog = before(&upstream, &[]);
    assert_eq!(watchdog.post(b"").header("x-199"), Some("199"));
}

#[test]
fn every_method_is_passed_on() {
    let upstream = Upstream::mirror();
    let watchdog = before(&upstream, &[]);
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
        let answer = watchdog.request(method, "/", &[], b"");
        assert!(answer.text().starts_with(method), "{method}");
    }
    assert_eq!(watchdog.request("CONNECT", "node:1", &[], b"").status, 400);
}

#[test]
fn a_body_that_does_not_arrive_is_a_400() {
    let upstream = Upstream::mirror();
    let watchdog = before(&upstream, &[("read_timeout", "200ms")]);
    for framing in ["Content-Length: 9", "Transfer-Encoding: chunked"] {
        let mut stream = watchdog.connect();
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n3\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(receive(&mut stream).status, 400, "{framing}");
    }
    let log = watchdog.log();
    assert!(log.contains("the body did not end in time"), "{log}");
}

#[test]
fn an_answer_to_head_has_a_length_and_no_body() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    let watchdog = before(&upstream, &[]);
    let mut stream = watchdog.connect();
    for _ in 0..2 {
        send(&mut stream, "HEAD", "/", &[], b"");
        let answer = receive_head(&mut stream);
        assert_eq!(answer.header("content-length"), Some("5"));
    }
}

#[test]
fn connections_to_the_process_are_used_again() {
    let upstream = Upstream::mirror();
    let watchdog = before(&upstream, &[]);
    for _ in 0..20 {
        assert_eq!(watchdog.post(b"x").status, 200);
    }
    assert!(upstream.connections() < 20, "{}", upstream.connections());
}

#[test]
fn connections_that_the_process_closes_are_not() {
    let announced = Upstream::start(|connection| {
        connection.request();
        connection.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end");
    });
    let silent = Upstream::start(|connection| {
        connection.request();
        connection.answer("once");
    });
    let old = Upstream::start(|connection| {
        connection.request();
        connection.write("HTTP/1.0 200 OK\r\n\r\nto the end");
    });
    for upstream in [announced, silent, old] {
        let watchdog = before(&upstream, &[]);
        for _ in 0..5 {
            assert_eq!(watchdog.request("GET", "/", &[], b"").status, 200);
            // Until the watchdog was told that the connection is closed.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(upstream.connections(), 5);
    }
}

#[test]
fn what_stands_in_the_url_of_the_process_is_put_before_paths() {
    let upstream = Upstream::mirror();
    let url = format!("{}/base/", upstream.url);
    let watchdog = before(&upstream, &[("http_upstream_url", &url)]);
    let answer = watchdog.request("GET", "/x?y=1", &[], b"");
    assert!(answer.text().starts_with("GET /base/x?y=1 "));
}

#[test]
fn a_request_with_two_lengths_is_one_request() {
    let upstream = Upstream::mirror();
    let watchdog = before(&upstream, &[]);
    let mut stream = watchdog.connect();
    let smuggled = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        smuggled.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(smuggled).unwrap();
    let answer = receive(&mut stream);
    if answer.status == 200 {
        // Its end is where the chunks end, and the process is told nothing else.
        let seen = answer.text().to_ascii_lowercase();
        assert!(!seen.contains("content-length"), "{seen}");
        assert!(!seen.contains("smuggled"), "{seen}");
    } else {
        assert_eq!(answer.status, 400);
    }

    for framing in [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: +3",
        "Transfer-Encoding: identity, chunked, identity",
    ] {
        let mut stream = watchdog.connect();
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\nabcd");
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(receive(&mut stream).status, 400, "{framing}");
    }
}

#[test]
fn requests_wait_until_the_process_listens() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let watchdog = Watchdog::start(&[
        ("mode", "http"),
        ("fprocess", "sleep 1000"),
        ("upstream_url", &url),
    ]);
    assert_eq!(watchdog.request("GET", "/_/ready", &[], b"").status, 503);
    let mut early = watchdog.connect();
    send(&mut early, "POST", "/", &[], b"early");
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let _upstream = Upstream::on(listener, |connection| {
        while connection.request().is_some() {
            connection.answer("here");
        }
    });
    assert_eq!(receive(&mut early).text(), "here");
    assert_eq!(watchdog.request("GET", "/_/ready", &[], b"").status, 200);
}

#[test]
fn a_process_that_never_listens_is_not_waited_for_longer_than_a_request_may_take() {
    let watchdog = deaf("sleep 1000", &[("exec_timeout", "200ms")]);
    until("healthy", || watchdog.folder.join(".lock").exists());
    let answer = watchdog.post(b"");
    assert_eq!(answer.status, 504);
    assert_eq!(answer.header("x-openfaas-internal"), Some("of-watchdog"));
    assert_eq!(watchdog.request("GET", "/_/health", &[], b"").status, 200);
    assert_eq!(watchdog.request("GET", "/_/ready", &[], b"").status, 503);
}

#[test]
fn an_answer_that_does_not_come_is_a_504() {
    let upstream = Upstream::start(|connection| {
        connection.request();
        connection.head();
    });
    let watchdog = before(&upstream, &[("exec_timeout", "100ms")]);
    let answer = watchdog.post(b"");
    assert_eq!((answer.status, answer.text()), (504, ""));
    assert_eq!(answer.header("x-openfaas-internal"), Some("of-watchdog"));
    assert!(answer.header("x-duration-seconds").is_some());
    let log = watchdog.log();
    assert!(
        log.contains("Upstream HTTP killed due to exec_timeout: 100ms"),
        "{log}"
    );
}

#[test]
fn a_caller_can_ask_for_less_time_than_is_set() {
    let upstream = Upstream::start(|connection| {
        connection.request();
        connection.head();
    });
    let watchdog = before(&upstream, &[]);
    let answer = watchdog.request("GET", "/", &["X-Timeout: 100ms"], b"");
    assert_eq!(answer.status, 504);
}

#[test]
fn an_answer_that_is_no_http_is_a_500() {
    for answer in [
        "",
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    ] {
        let upstream = Upstream::start(move |connection| {
            connection.request();
            connection.write(answer);
        });
        let watchdog = before(&upstream, &[]);
        let failure = watchdog.post(b"");
        assert_eq!((failure.status, failure.text()), (500, ""), "{answer}");
        assert_eq!(failure.header("x-openfaas-internal"), Some("of-watchdog"));
        assert!(failure.header("x-duration-seconds").is_some());
        assert!(watchdog.log().contains("Upstream HTTP request error: "));
        assert_eq!(watchdog.request("GET", "/_/health", &[], b"").status, 200);
    }
}

#[test]
fn a_caller_who_hangs_up_is_no_longer_worked_for() {
    let (told, tell) = mpsc::channel();
    let told = Mutex::new(told);
    let upstream = Upstream::start(move |connection| {
        connection.request();
        told.lock().unwrap().send("request").unwrap();
        assert!(connection.head().is_none());
        told.lock().unwrap().send("closed").unwrap();
    });
    let watchdog = before(&upstream, &[]);
    let mut stream = watchdog.connect();
    send(&mut stream, "POST", "/", &[], b"x");
    assert_eq!(tell.recv().unwrap(), "request");
    drop(stream);
    assert_eq!(tell.recv().unwrap(), "closed");
    until("counted", || {
        metrics(&watchdog).contains("http_requests_in_flight 0\n")
    });
    assert!(metrics(&watchdog).contains("http_requests_total{code=\"499\",method=\"post\"} 1\n"));
}

#[test]
fn an_answer_longer_than_its_time_breaks_off_visibly() {
    let upstream = Upstream::start(|connection| {
        connection.request();
        connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        connection.head();
    });
    let watchdog = before(&upstream, &[("exec_timeout", "300ms")]);
    let mut stream = watchdog.connect();
    send(&mut stream, "GET", "/", &[], b"");
    assert_eq!(receive_head(&mut stream).status, 200);
    assert_eq!(receive_chunk(&mut stream).unwrap(), b"first");
    assert!(is_closed(&mut stream), "the last chunk came");
}

#[test]
fn a_body_can_be_read_whole_before_it_is_passed_on() {
    let upstream = Upstream::mirror();
    let watchdog = before(&upstream, &[("buffer_http", "1")]);
    let mut stream = watchdog.connect();
    send(
        &mut stream,
        "POST",
        "/",
        &["Transfer-Encoding: chunked"],
        b"",
    );
    stream
        .write_all(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        .unwrap();
    let answer = receive(&mut stream);
    let seen = answer.text();
    assert!(seen.contains("\r\nContent-Length: 5\r\n"), "{seen}");
    assert!(!seen.contains("Transfer-Encoding"), "{seen}");
    assert!(seen.ends_with("\r\n\r\nabcde"), "{seen}");
}

#[test]
fn a_request_too_many_is_turned_away_and_readiness_says_so() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let (told, tell) = mpsc::channel();
    let told = Mutex::new(told);
    let upstream = Upstream::start(move |connection| {
        while connection.request().is_some() {
            told.lock().unwrap().send(()).unwrap();
            wait.lock().unwrap().recv().unwrap();
            connection.answer("done");
        }
    });
    let watchdog = before(&upstream, &[("max_inflight", "1")]);
    assert_eq!(watchdog.request("GET", "/_/ready", &[], b"").status, 200);
    let mut first = watchdog.connect();
    send(&mut first, "POST", "/", &[], b"");
    tell.recv().unwrap();
    let second = watchdog.post(b"");
    assert_eq!(
        (second.status, second.text()),
        (
            429,
            "Concurrent request limit exceeded. Max concurrent requests: 1\n"
        )
    );
    assert_eq!(
        second.header("x-openfaas-internal"),
        Some("faas-middleware")
    );
    assert_eq!(watchdog.request("GET", "/_/ready", &[], b"").status, 429);
    go.send(()).unwrap();
    assert_eq!(receive(&mut first).text(), "done");
    until("ready", || {
        watchdog.request("GET", "/_/ready", &[], b"").status == 200
    });
}

#[test]
fn readiness_is_what_the_function_says() {
    let upstream = Upstream::start(|connection| {
        while let Some(request) = connection.request() {
            if request.line() == "GET /are/you HTTP/1.1" {
                connection.write("HTTP/1.1 418 I'm a teapot\r\nContent-Length: 3\r\n\r\nyes");
            } else {
                connection.answer("");
            }
        }
    });
    let watchdog = before(&upstream, &[("ready_path", "/are/you")]);
    until("ready", || {
        watchdog.request("GET", "/_/ready", &[], b"").status != 503
    });
    let answer = watchdog.request("GET", "/_/ready", &[], b"");
    assert_eq!((answer.status, answer.text()), (418, "yes"));
    // It is none of the requests that are counted.
    assert!(!metrics(&watchdog).contains("http_requests_total{"));
    assert_eq!(watchdog.request("POST", "/_/ready", &[], b"").status, 405);
}

#[test]
fn a_process_that_fails_ends_the_watchdog() {
    let mut watchdog = deaf("echo broken >&2; exit 3", &[]);
    assert_eq!(watchdog.wait(), Some(1));
    let log = watchdog.log();
    assert!(
        log.contains("Forked function has terminated: exit status 3\n"),
        "{log}"
    );
    assert!(log.contains(" stderr: broken\n"), "{log}");
}

#[test]
fn a_process_that_is_not_there_ends_the_watchdog() {
    let (code, _, error) = run(
        &[],
        &[
            ("mode", "http"),
            ("fprocess", "no-such-program"),
            ("upstream_url", "http://127.0.0.1:1"),
            ("port", &free_port().to_string()),
            ("metrics_port", &free_port().to_string()),
        ],
    );
    assert_eq!(code, Some(1));
    assert!(error.contains("exec: \"no-such-program\""), "{error}");
}

#[test]
fn a_process_that_goes_into_the_background_is_let_go() {
    let upstream = Upstream::mirror();
    let watchdog = before(&upstream, &[("fprocess", "true")]);
    // The start of the watchdog, and the end of `true`.
    assert_eq!(watchdog.post(b"x").status, 200);
    assert_eq!(watchdog.request("GET", "/_/health", &[], b"").status, 200);
}

#[test]
fn a_process_without_input_is_not_at_its_end() {
    let marker = support::folder().join("ended");
    let watchdog = deaf(&format!("cat; touch {}", marker.display()), &[]);
    until("healthy", || watchdog.folder.join(".lock").exists());
    assert!(!marker.exists());
}

#[test]
fn without_an_address_it_does_not_start() {
    let (code, _, error) = run(&[], &[("mode", "http"), ("fprocess", "cat")]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("For \"mode=http\" you must specify a valid URL for \"http_upstream_url\""),
        "{error}"
    );
}

#[test]
fn the_process_is_told_to_end_at_once() {
    let mut watchdog = deaf(
        "trap 'echo told; exit 0' TERM; while :; do sleep 0.05; done",
        &[("healthcheck_interval", "1h")],
    );
    until("started", || watchdog.folder.join(".lock").exists());
    // Until the shell has set its trap.
    std::thread::sleep(std::time::Duration::from_millis(200));
    watchdog.terminate();
    // Nobody could answer any more, so nobody is waited for either.
    assert_eq!(watchdog.wait(), Some(0));
    assert!(
        watchdog.output().contains("stdout: told\n"),
        "{}",
        watchdog.output()
    );
    assert!(
        watchdog
            .log()
            .contains("SIGTERM: no new connections in 1h0m0s\n")
    );
}

#[test]
fn a_request_in_flight_is_answered_before_the_end() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let (told, tell) = mpsc::channel();
    let told = Mutex::new(told);
    let upstream = Upstream::start(move |connection| {
        connection.request();
        told.lock().unwrap().send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        connection.answer("finished");
        connection.head();
    });
    let stubborn = script("trap '' TERM; sleep 1000");
    let mut watchdog = before(
        &upstream,
        &[("fprocess", &stubborn), ("healthcheck_interval", "1ms")],
    );
    // Until the shell has set its trap.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let mut stream = watchdog.connect();
    send(&mut stream, "POST", "/", &[], b"");
    tell.recv().unwrap();
    watchdog.terminate();
    until("draining", || {
        watchdog.log().contains("draining: 1 requests")
    });
    go.send(()).unwrap();
    assert_eq!(receive(&mut stream).text(), "finished");
    assert_eq!(watchdog.wait(), Some(0));
    assert!(watchdog.log().contains("Exiting. Active connections: 0\n"));
}

#[test]
fn the_process_ends_with_the_watchdog() {
    let time = long_time();
    let mut watchdog = deaf(
        &format!("trap '' TERM; sleep {time}"),
        &[("healthcheck_interval", "1ms")],
    );
    until("started", || running(&time));
    until("healthy", || watchdog.folder.join(".lock").exists());
    watchdog.terminate();
    assert_eq!(watchdog.wait(), Some(0));
    until("killed", || !running(&time));
}

#[test]
fn requests_are_counted() {
    let upstream = Upstream::answering("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    let watchdog = before(&upstream, &[]);
    assert_eq!(watchdog.post(b"x").status, 201);
    until("counted", || {
        metrics(&watchdog).contains("http_requests_total{code=\"201\",method=\"post\"} 1\n")
    });
}

fn metrics(watchdog: &Watchdog) -> String {
    let mut stream = connect(watchdog.metrics_port);
    send(&mut stream, "GET", "/metrics", &["Connection: close"], b"");
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
