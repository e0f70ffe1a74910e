//! The contract of the classic watchdog, checked on the real program.

use std::{
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    thread,
    time::{Duration, Instant},
};

use crate::support::{self, Watchdog, connect, receive, run, running, script, send};

#[test]
fn the_output_of_the_process_is_the_answer() {
    let watchdog = Watchdog::start(&[("fprocess", "cat")]);
    let answer = watchdog.post(b"hello");
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    let seconds: f64 = answer
        .header("x-duration-seconds")
        .unwrap()
        .parse()
        .unwrap();
    assert!(seconds > 0.0);
    let log = watchdog.log();
    assert!(log.contains(" Forking fprocess.\n"), "{log}");
    assert!(log.contains(" Wrote 5 Bytes - Duration: "), "{log}");
}

#[test]
fn a_body_larger_than_every_pipe_passes_through() {
    let watchdog = Watchdog::start(&[("fprocess", "cat")]);
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    assert!(watchdog.post(&body).body == body);
}

#[test]
fn a_process_that_reads_nothing_still_answers() {
    let watchdog = Watchdog::start(&[("fprocess", "echo done")]);
    let answer = watchdog.post(&vec![b'x'; 1_000_000]);
    assert_eq!((answer.status, answer.text()), (200, "done\n"));
}

#[test]
fn the_content_type_is_set_then_asked_then_guessed() {
    let watchdog = Watchdog::start(&[("fprocess", "cat")]);
    let typed = watchdog.request("POST", "/", &["Content-Type: application/json"], b"{}");
    assert_eq!(typed.header("content-type"), Some("application/json"));
    let guessed = watchdog.post(b"<html><body>");
    assert_eq!(
        guessed.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(watchdog.post(b"").header("content-type"), None);

    let watchdog = Watchdog::start(&[("fprocess", "cat"), ("content_type", "image/png")]);
    let fixed = watchdog.request("POST", "/", &["Content-Type: application/json"], b"{}");
    assert_eq!(fixed.header("content-type"), Some("image/png"));
}

#[test]
fn a_process_that_fails_is_a_500_with_its_output() {
    let watchdog = Watchdog::start(&[("fprocess", "ls /nonexistent")]);
    let answer = watchdog.post(b"");
    assert_eq!(answer.status, 500);
    assert!(
        answer.text().starts_with("exit status 2\n"),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("/nonexistent"), "{}", answer.text());
    assert_eq!(answer.header("x-duration-seconds"), None);
}

#[test]
fn a_program_that_is_not_there_is_a_500_that_says_so() {
    let watchdog = Watchdog::start(&[("fprocess", "no-such-program")]);
    let answer = watchdog.post(b"");
    assert_eq!(answer.status, 500);
    assert_eq!(
        answer.text(),
        "exec: \"no-such-program\": executable file not found in $PATH\n"
    );
}

#[test]
fn standard_error_can_be_kept_out_of_the_answer() {
    let script = script("echo answer; echo remark >&2");
    let combined = Watchdog::start(&[("fprocess", &script)]);
    assert_eq!(combined.post(b"").text(), "answer\nremark\n");
    let apart = Watchdog::start(&[("fprocess", &script), ("combine_output", "false")]);
    assert_eq!(apart.post(b"").text(), "answer\n");
    assert!(apart.log().contains("stderr: remark"));
}

#[test]
fn the_request_is_in_the_environment() {
    let watchdog = Watchdog::start(&[("fprocess", "env"), ("own", "kept")]);
    let answer = watchdog.request("PUT", "/a%2Fb?x=1", &["X-Call-Id: abc"], b"12345");
    for line in [
        "own=kept",
        "Http_Method=PUT",
        "Http_Path=/a/b",
        "Http_Query=x=1",
        "Http_X_Call_Id=abc",
        "Http_Content_Length=5",
        "Http_Host=node:8080",
    ] {
        assert!(
            answer.text().lines().any(|have| have == line),
            "{line}\n{}",
            answer.text()
        );
    }
    let silent = Watchdog::start(&[("fprocess", "env"), ("cgi_headers", "false")]);
    assert!(!silent.post(b"").text().contains("Http_"));
}

#[test]
fn a_marshalled_request_arrives_as_json() {
    let watchdog = Watchdog::start(&[("fprocess", "cat"), ("marshal_request", "true")]);
    let answer = watchdog.request("POST", "/", &["X-A: 1"], b"hello");
    let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(value["body"]["raw"], "aGVsbG8=");
    assert_eq!(value["header"]["X-A"][0], "1");
}

#[test]
fn a_process_that_takes_too_long_is_killed_with_its_children() {
    let marker = format!("31{}.5", std::process::id());
    let script = script(&format!("sleep {marker} & sleep {marker}; echo late"));
    let watchdog = Watchdog::start(&[("fprocess", &script), ("exec_timeout", "300ms")]);
    let start = Instant::now();
    let answer = watchdog.post(b"");
    assert_eq!((answer.status, answer.text()), (408, "Killed process.\n"));
    assert!(start.elapsed() < Duration::from_secs(10));
    let deadline = Instant::now() + Duration::from_secs(5);
    while running(&marker) {
        assert!(Instant::now() < deadline, "a child lives on");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_answer_later_than_the_write_timeout_is_a_504() {
    let watchdog = Watchdog::start(&[("fprocess", "sleep 1"), ("write_timeout", "200ms")]);
    assert_eq!(watchdog.post(b"").status, 504);
}

#[test]
fn a_caller_who_hangs_up_does_not_stop_the_function() {
    let done = support::folder().join("done");
    let script = script(&format!("sleep 0.5; touch {}", done.display()));
    let watchdog = Watchdog::start(&[("fprocess", &script)]);
    let mut stream = watchdog.connect();
    send(&mut stream, "POST", "/", &[], b"x");
    while !watchdog.log().contains("Forking") {
        thread::sleep(Duration::from_millis(10));
    }
    drop(stream);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done.exists() {
        assert!(Instant::now() < deadline, "the function was stopped");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn more_requests_than_allowed_are_turned_away() {
    let watchdog = Watchdog::start(&[("fprocess", "sleep 1"), ("max_inflight", "1")]);
    let mut first = watchdog.connect();
    send(&mut first, "POST", "/", &[], b"");
    while !watchdog.log().contains("Forking") {
        thread::sleep(Duration::from_millis(10));
    }
    let second = watchdog.post(b"");
    assert_eq!(second.status, 429);
    assert_eq!(
        second.text(),
        "Concurrent request limit exceeded. Max concurrent requests: 1\n"
    );
    assert_eq!(
        second.header("x-openfaas-internal"),
        Some("faas-middleware")
    );
    assert_eq!(receive(&mut first).status, 200);
    assert_eq!(watchdog.post(b"").status, 200);
}

#[test]
fn methods_that_functions_do_not_know_are_refused() {
    let watchdog = Watchdog::start(&[("fprocess", "cat")]);
    for method in ["HEAD", "OPTIONS", "TRACE"] {
        assert_eq!(
            watchdog.request(method, "/", &[], b"").status,
            405,
            "{method}"
        );
    }
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        assert_eq!(
            watchdog.request(method, "/", &[], b"").status,
            200,
            "{method}"
        );
    }
    assert_eq!(watchdog.request("POST", "/_/health", &[], b"").status, 405);
}

#[test]
fn a_connection_serves_several_requests() {
    let watchdog = Watchdog::start(&[("fprocess", "cat")]);
    let mut stream = watchdog.connect();
    for body in ["one", "two", "three"] {
        send(&mut stream, "POST", "/", &[], body.as_bytes());
        assert_eq!(receive(&mut stream).text(), body);
    }
}

#[test]
fn a_chunked_body_is_read_to_its_end() {
    let watchdog = Watchdog::start(&[("fprocess", "cat")]);
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
    assert_eq!(receive(&mut stream).text(), "abcde");
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let watchdog = Watchdog::start(&[("fprocess", "cat")]);
    let mut stream = watchdog.connect();
    stream
        .write_all(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
        )
        .unwrap();
    assert_eq!(receive(&mut stream).status, 100);
    stream.write_all(b"ok").unwrap();
    assert_eq!(receive(&mut stream).text(), "ok");
}

#[test]
fn headers_without_end_are_refused() {
    let watchdog = Watchdog::start(&[("fprocess", "cat")]);
    let mut stream = watchdog.connect();
    let header = format!("X-Long: {}", "x".repeat(200 << 10));
    send(&mut stream, "GET", "/", &[&header], b"");
    assert_eq!(receive(&mut stream).status, 431);
}

#[test]
fn a_request_that_never_arrives_does_not_hold_the_connection() {
    let watchdog = Watchdog::start(&[("fprocess", "cat"), ("read_timeout", "200ms")]);
    let mut stream = watchdog.connect();
    stream.write_all(b"GET / HTT").unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);

    let mut stream = watchdog.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        .unwrap();
    assert_eq!(receive(&mut stream).status, 400);
}

#[test]
fn the_lock_file_tells_of_health() {
    let mut watchdog = Watchdog::start(&[("fprocess", "cat"), ("healthcheck_interval", "500ms")]);
    let lock = watchdog.folder.join(".lock");
    assert_eq!(lock.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    let folder = watchdog.folder.to_str().unwrap().to_owned();
    assert_eq!(
        run(&["-run-healthcheck"], &[("TMPDIR", &folder)]).0,
        Some(0)
    );

    watchdog.terminate();
    let deadline = Instant::now() + Duration::from_secs(5);
    while lock.exists() {
        assert!(Instant::now() < deadline, "the lock stays");
        thread::sleep(Duration::from_millis(5));
    }
    // It goes on serving while those who probe its health have not noticed.
    assert_eq!(watchdog.request("GET", "/_/health", &[], b"").status, 503);
    assert_eq!(watchdog.post(b"still").text(), "still");
    let (code, _, error) = run(&["-run-healthcheck"], &[("TMPDIR", &folder)]);
    assert_eq!(code, Some(1));
    assert!(error.contains("unable to find lock file."), "{error}");
    assert_eq!(watchdog.wait(), Some(0));
}

#[test]
fn a_request_in_flight_is_answered_before_the_end() {
    let script = script("sleep 1; echo finished");
    let mut watchdog = Watchdog::start(&[("fprocess", &script), ("healthcheck_interval", "1ms")]);
    let mut stream = watchdog.connect();
    send(&mut stream, "POST", "/", &[], b"");
    while !watchdog.log().contains("Forking") {
        thread::sleep(Duration::from_millis(10));
    }
    watchdog.terminate();
    assert_eq!(receive(&mut stream).text(), "finished\n");
    assert_eq!(watchdog.wait(), Some(0));
}

#[test]
fn without_a_lock_file_health_is_503_as_upstream_has_it() {
    let watchdog = Watchdog::start(&[("fprocess", "cat"), ("suppress_lock", "true")]);
    assert!(!watchdog.folder.join(".lock").exists());
    assert_eq!(watchdog.request("GET", "/_/health", &[], b"").status, 503);
    assert_eq!(watchdog.post(b"x").text(), "x");
}

#[test]
fn metrics_count_requests_on_a_port_of_their_own() {
    let watchdog = Watchdog::start(&[("fprocess", "cat")]);
    watchdog.post(b"x");
    let mut stream = connect(watchdog.metrics_port);
    send(&mut stream, "GET", "/metrics", &[], b"");
    let answer = receive(&mut stream);
    assert!(
        answer
            .text()
            .contains("http_requests_total{code=\"200\",method=\"post\"} 1\n")
    );
    assert!(answer.text().contains("http_requests_in_flight 0\n"));
}

#[test]
fn the_version_is_printed() {
    let (code, output, _) = run(&["-version"], &[]);
    assert_eq!((code, output.trim()), (Some(0), env!("CARGO_PKG_VERSION")));
}

#[test]
fn without_a_process_it_does_not_start() {
    let (code, _, error) = run(&[], &[("fprocess", "")]);
    assert_eq!(code, Some(1));
    assert!(error.contains("fprocess"), "{error}");
}

#[test]
fn an_unknown_argument_is_wrong_usage() {
    assert_eq!(run(&["-nonsense"], &[]).0, Some(2));
}
