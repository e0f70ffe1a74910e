//! Asynchronous calls, on a provider in memory.

mod support;

use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::Request};
use gateway::{
    api::{self, Gateway},
    config::Config,
    provider::Provider,
};
use serde_json::Value;
use support::{
    client::{AUTHORIZATION, request},
    deployment, id,
    memory::Memory,
    queue::{Fixture, Sink, assert_holds, serve},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};
use tower_service::Service;

#[tokio::test]
async fn a_call_is_accepted_passed_on_and_its_answer_handed_over() {
    let mut it = Fixture::new(&[("echo", "echo")], &[]).await;
    let callback = it.sink.header();
    let headers = [
        callback.as_str(),
        "X-Call-Id: mine",
        "Content-Type: text/csv",
    ];
    let answer = it
        .call("/async-function/echo/a%20b?x=%26", &headers, b"hello")
        .await;
    assert_eq!((answer.status, answer.text()), (202, ""));
    assert_eq!(answer.header("x-call-id"), Some("mine"));
    assert!(
        answer
            .header("x-start-time")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );

    let callback = it.sink.next().await;
    assert!(
        callback.starts_with("POST /sink?a=b HTTP/1.1\r\n"),
        "{callback}"
    );
    assert!(callback.ends_with("\r\n\r\nhello"), "{callback}");
    assert_holds(
        &callback,
        &[
            "X-Function-Status: 200",
            "X-Function-Name: echo.openfaas-fn",
            "X-Call-Id: mine",
            "X-Seen-Method: POST",
            "X-Seen-Uri: /a%20b?x=%26",
            "X-Seen-Content-Type: text/csv",
            "X-Seen-X-Call-Id: mine",
            "X-Seen-X-Forwarded-Host: node:8080",
            "Content-Length: 5",
        ],
    );
    let duration = callback
        .lines()
        .find_map(|line| line.strip_prefix("X-Duration-Seconds: "));
    assert!(duration.unwrap().parse::<f64>().unwrap() < 10.0);
    it.until(|queue| queue["callbacks"] == 0 && queue["bytes"] == 0)
        .await;
    assert_eq!((it.files("waiting"), it.files("new")), (0, 0));
    assert_eq!(it.invocations("echo").await, 1.0);
}

#[tokio::test]
async fn a_call_without_an_id_gets_one_and_a_chunked_body_is_whole() {
    let mut it = Fixture::new(&[("echo", "echo")], &[]).await;
    let mut stream = TcpStream::connect(it.server.address).await.unwrap();
    let body = "x".repeat(200_000);
    let head = format!(
        "POST /async-function/echo.openfaas-fn HTTP/1.1\r\nHost: n\r\n{}\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        it.sink.header(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 Accepted\r\n"), "{answer}");
    let id = answer
        .lines()
        .find_map(|line| line.strip_prefix("X-Call-Id: "))
        .unwrap();
    // The answer is longer than what is kept in memory: it comes from a file.
    let callback = it.sink.next().await;
    assert_holds(&callback, &[&format!("X-Call-Id: {id}")]);
    assert!(callback.ends_with(&body));
    it.until(|queue| queue["callbacks"] == 0).await;
    assert_eq!(it.files("new"), 0);
}

#[tokio::test]
async fn what_cannot_be_called_is_refused_at_once() {
    let variables = [
        ("queue_body_limit", "1000"),
        ("queue_private_callbacks", "false"),
    ];
    let it = Fixture::new(&[("echo", "echo")], &variables).await;
    for (path, headers, length, status, reason) in [
        (
            "/async-function/nobody",
            &[][..],
            1,
            404,
            "no such function",
        ),
        ("/async-function/a%2fb", &[], 1, 404, "404 page not found"),
        ("/async-function/", &[], 1, 404, "404 page not found"),
        ("/async-function/echo", &[], 1001, 413, "1000 bytes"),
        (
            "/async-function/echo",
            &["X-Callback-Url: :"],
            1,
            400,
            "X-Callback-Url",
        ),
        (
            "/async-function/echo",
            &["X-Callback-Url: https://x.org/"],
            1,
            400,
            "no TLS",
        ),
        (
            "/async-function/echo",
            &["X-Callback-Url: http://127.0.0.1:9/"],
            1,
            400,
            "node itself",
        ),
    ] {
        let answer = it.call(path, headers, &vec![b'x'; length]).await;
        assert_eq!(answer.status, status, "{path} {headers:?}");
        assert!(answer.text().contains(reason), "{}", answer.text());
    }
    for method in ["GET", "PUT", "DELETE"] {
        let answer = it.server.open(method, "/async-function/echo", "").await;
        assert_eq!(answer.status, 405, "{method}");
    }
    assert_eq!((it.files("waiting"), it.files("new")), (0, 0));
    assert_eq!(it.invocations("echo").await, 0.0);
}

#[tokio::test]
async fn a_body_that_grows_past_its_limit_or_breaks_off_leaves_nothing() {
    let it = Fixture::new(&[("echo", "echo")], &[("queue_body_limit", "300000")]).await;
    let chunk = format!("{:x}\r\n{}\r\n", 100_000, "x".repeat(100_000));
    let head = "POST /async-function/echo HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    let mut stream = TcpStream::connect(it.server.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..4 {
        let _ = stream.write_all(chunk.as_bytes()).await;
    }
    let mut answer = vec![0; 20];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 413 "));

    let mut stream = TcpStream::connect(it.server.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(chunk.as_bytes()).await.unwrap();
    while it.files("new") == 0 {
        time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    it.until(|queue| queue["bytes"] == 0).await;
    assert_eq!((it.files("waiting"), it.files("new")), (0, 0));
}

#[tokio::test]
async fn a_full_queue_refuses_and_takes_again() {
    for (variable, value) in [("queue_max_messages", "3"), ("queue_max_size", "12Ki")] {
        let it = Fixture::new(&[("echo", "echo")], &[(variable, value)]).await;
        *it.memory.away.lock().unwrap() = true;
        for expected in [202, 202, 202, 503] {
            let answer = it.call("/async-function/echo", &[], b"").await;
            assert_eq!(answer.status, expected, "{variable}: {}", answer.text());
            if expected == 503 {
                assert!(
                    answer.text().contains("the queue is full"),
                    "{}",
                    answer.text()
                );
            }
        }
        *it.memory.away.lock().unwrap() = false;
        it.until(|queue| queue["bytes"] == 0).await;
        let answer = it.call("/async-function/echo", &[], b"").await;
        assert_eq!(answer.status, 202);
    }
}

#[tokio::test]
async fn what_waited_for_the_engine_is_called_when_it_is_back() {
    let mut it = Fixture::new(&[("echo", "echo")], &[]).await;
    *it.memory.away.lock().unwrap() = true;
    for number in 0..5 {
        it.call_back("/async-function/echo", &format!("{number}"))
            .await;
    }
    // The absence of the engine counts against nobody.
    time::sleep(Duration::from_millis(1500)).await;
    let queue = it.until(|queue| queue["depth"] == 5).await;
    assert_eq!(queue["dead"], Value::Array(vec![]));
    assert_eq!(queue["functions"][0]["name"], "echo.openfaas-fn");
    *it.memory.away.lock().unwrap() = false;
    let mut bodies = Vec::new();
    for _ in 0..5 {
        bodies.push(it.sink.next().await.chars().last().unwrap());
    }
    bodies.sort_unstable();
    assert_eq!(bodies, ['0', '1', '2', '3', '4']);
}

#[tokio::test]
async fn what_a_function_answers_itself_is_handed_over_and_not_repeated() {
    let functions = [("teapot", "teapot"), ("redirect", "redirect")];
    let mut it = Fixture::new(&functions, &[]).await;
    for (name, status) in [("teapot", 418), ("redirect", 302)] {
        it.call_back(&format!("/async-function/{name}"), "").await;
        let callback = it.sink.next().await;
        assert_holds(&callback, &[&format!("X-Function-Status: {status}")]);
        it.until(|queue| queue["callbacks"] == 0).await;
        assert_eq!(it.invocations(name).await, 1.0);
    }
}

const THREE_TIMES: [(&str, &str); 2] = [("attempts", "3"), ("min_wait", "50ms")];

#[tokio::test]
async fn failures_on_the_way_are_tried_again_and_end_with_the_dead() {
    let mut it = Fixture::new(&[], &[]).await;
    for (name, status, reason) in [
        (
            "full",
            429,
            "Concurrent request limit exceeded. (429 Too Many Requests)",
        ),
        ("broken", 502, "the answer broke off"),
    ] {
        it.deploy(name, name, &THREE_TIMES).await;
        let answer = it.call_back(&format!("/async-function/{name}"), "x").await;
        let id = answer.header("x-call-id").unwrap();
        let queue = it.until(|queue| queue["dead"][0].is_object()).await;
        let dead = &queue["dead"][0];
        assert_eq!(dead["id"], id);
        assert_eq!(dead["function"], format!("{name}.openfaas-fn"));
        assert_eq!(dead["attempts"], 3);
        assert!(
            dead["reason"].as_str().unwrap().starts_with(reason),
            "{dead}"
        );
        assert!(dead["time"].as_str().unwrap().ends_with('Z'));
        assert_eq!(
            (&queue["depth"], &queue["inflight"]),
            (&0.into(), &0.into())
        );
        assert_eq!(it.invocations(name).await, 3.0);
        // Who waits for the answer hears of it, once.
        let callback = it.sink.next().await;
        assert_holds(&callback, &[&format!("X-Function-Status: {status}")]);
        let path = format!("/system/queue/dead/{id}");
        assert_eq!(it.server.admin("DELETE", &path, "").await.status, 202);
        assert_eq!(it.server.admin("DELETE", &path, "").await.status, 404);
        assert_eq!((it.files("waiting"), it.files("dead")), (0, 0));
    }
}

#[tokio::test]
async fn a_function_chooses_what_is_tried_again() {
    let it = Fixture::new(&[], &[]).await;
    let annotations = [&THREE_TIMES[..], &[("codes", "500, 418")]].concat();
    it.deploy("tea", "teapot", &annotations).await;
    it.call("/async-function/tea", &[], b"").await;
    let queue = it.until(|queue| queue["dead"][0].is_object()).await;
    let reason = queue["dead"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("short and stout (418"), "{reason}");
    assert_eq!(it.invocations("tea").await, 3.0);
}

#[tokio::test]
async fn a_dead_letter_is_replayed_with_all_it_had() {
    let mut it = Fixture::new(&[], &[]).await;
    it.deploy("f", "full", &THREE_TIMES).await;
    let callback = it.sink.header();
    let headers = ["X-Call-Id: a/b c", callback.as_str()];
    it.call("/async-function/f/path?q", &headers, b"body").await;
    it.until(|queue| queue["dead"][0]["id"] == "a/b c").await;
    it.sink.next().await;

    // It is there after a restart as well.
    it.restart().await;
    assert_eq!(it.overview().await["dead"][0]["attempts"], 3);
    it.memory.delete(&id("f")).await.unwrap();
    it.deploy("f", "echo", &[]).await;
    let path = "/system/queue/dead/a%2Fb%20c";
    assert_eq!(it.server.admin("POST", path, "").await.status, 202);
    let callback = it.sink.next().await;
    assert!(callback.ends_with("\r\n\r\nbody"));
    assert_holds(
        &callback,
        &["X-Seen-Uri: /path?q", "X-Function-Status: 200"],
    );
    assert_eq!(it.server.admin("POST", path, "").await.status, 404);
    it.until(|queue| queue["callbacks"] == 0).await;
    assert_eq!((it.files("waiting"), it.files("dead")), (0, 0));
}

#[tokio::test]
async fn a_function_that_is_replaced_meanwhile_is_waited_for() {
    let mut it = Fixture::new(&[("echo", "echo")], &[]).await;
    *it.memory.away.lock().unwrap() = true;
    it.call_back("/async-function/echo", "x").await;
    it.memory.forget(&id("echo"));
    *it.memory.away.lock().unwrap() = false;
    assert!(it.sink.is_quiet(Duration::from_millis(1500)).await);
    it.deploy("echo", "echo", &[]).await;
    assert!(it.sink.next().await.ends_with("x"));
}

#[tokio::test]
async fn the_dead_are_bounded_and_the_oldest_goes() {
    let it = Fixture::new(&[], &[("queue_max_dead", "2")]).await;
    it.deploy("full", "full", &[("attempts", "1")]).await;
    for call in ["1", "2", "3"] {
        let header = format!("X-Call-Id: {call}");
        it.call("/async-function/full", &[&header], b"").await;
        it.until(|queue| {
            let dead = queue["dead"].as_array().unwrap();
            dead.last().is_some_and(|dead| dead["id"] == call)
        })
        .await;
    }
    let queue = it
        .until(|queue| queue["dead"].as_array().unwrap().len() == 2)
        .await;
    assert_eq!(queue["dead"][0]["id"], "2");
}

#[tokio::test]
async fn a_callback_that_fails_is_tried_again_and_no_redirect_is_followed() {
    let mut it = Fixture::new(&[("echo", "echo")], &[]).await;
    it.sink = Sink::new(&[500, 200]).await;
    it.call_back("/async-function/echo", "x").await;
    assert!(it.sink.next().await.ends_with("x"));
    assert!(it.sink.next().await.ends_with("x"));
    it.until(|queue| queue["callbacks"] == 0).await;

    for statuses in [&[302][..], &[404]] {
        it.sink = Sink::new(statuses).await;
        it.call_back("/async-function/echo", "x").await;
        it.sink.next().await;
        it.until(|queue| queue["callbacks"] == 0).await;
        assert!(it.sink.is_quiet(Duration::from_millis(100)).await);
    }
    // The function itself was called once for each.
    assert_eq!(it.invocations("echo").await, 3.0);
}

#[tokio::test]
async fn a_slow_function_does_not_hold_up_the_others() {
    let functions = [("slow", "endless"), ("echo", "echo")];
    let mut it = Fixture::new(&functions, &[("max_inflight", "2")]).await;
    for _ in 0..4 {
        it.call("/async-function/slow", &[], b"").await;
    }
    let queue = it.until(|queue| queue["inflight"] == 1).await;
    assert_eq!(queue["depth"], 3);
    for _ in 0..3 {
        it.call_back("/async-function/echo", "x").await;
        it.sink.next().await;
    }

    let metrics = request(it.server.metrics, "GET", "/metrics", &[], b"").await;
    let metrics = metrics.text();
    for line in [
        "gateway_queue_depth{function_name=\"slow.openfaas-fn\"} 3",
        "gateway_queue_inflight{function_name=\"slow.openfaas-fn\"} 1",
        "gateway_queue_dead 0",
    ] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
}

#[tokio::test]
async fn a_function_without_replicas_is_started() {
    let mut it = Fixture::new(&[("echo", "late-echo")], &[]).await;
    it.memory.scale(&id("echo"), 0).await.unwrap();
    it.call_back("/async-function/echo", "x").await;
    assert!(it.sink.next().await.ends_with("x"));
}

#[tokio::test]
async fn the_queue_is_for_those_with_the_password() {
    let it = Fixture::new(&[], &[]).await;
    for (method, path) in [
        ("GET", "/system/queue"),
        ("POST", "/system/queue/dead/1"),
        ("DELETE", "/system/queue/dead/1"),
    ] {
        assert_eq!(it.server.open(method, path, "").await.status, 401, "{path}");
    }
    let answer = request(
        it.server.address,
        "PUT",
        "/system/queue",
        &[AUTHORIZATION],
        b"",
    )
    .await;
    assert_eq!(answer.status, 405);
}

#[tokio::test]
async fn without_a_queue_there_are_no_asynchronous_calls() {
    let config = Config::read(|name| (name == "basic_auth").then(|| "false".to_owned()));
    let gateway = Gateway::new(Arc::new(Memory::default()), &config, None).unwrap();
    let mut router = api::router(Arc::new(gateway));
    for (method, path) in [
        ("POST", "/async-function/echo"),
        ("GET", "/system/queue"),
        ("POST", "/system/queue/dead/1"),
    ] {
        let request = Request::builder().method(method).uri(path);
        let answer = router.call(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.unwrap().status(), 404, "{path}");
    }
}

#[tokio::test]
async fn a_function_with_a_token_is_called_by_those_who_know_it() {
    let mut it = Fixture::new(&[], &[]).await;
    it.memory
        .create_secret("openfaas-fn", "key", b"sesame")
        .await
        .unwrap();
    let mut deployment = deployment("f", "echo");
    let annotation = ("org.rubus.token".to_owned(), "key".to_owned());
    deployment.annotations = Some([annotation].into());
    it.memory.deploy(&id("f"), deployment, 1).await.unwrap();
    for header in ["X-None: 1", "Authorization: Bearer wrong"] {
        let answer = it.call("/async-function/f", &[header], b"").await;
        assert_eq!(answer.status, 401, "{header}");
    }
    assert_eq!(it.files("waiting"), 0);
    let callback = it.sink.header();
    let headers = ["Authorization: Bearer sesame", callback.as_str()];
    let answer = it.call("/async-function/f", &headers, b"x").await;
    assert_eq!(answer.status, 202);
    let callback = it.sink.next().await;
    assert_holds(&callback, &["X-Function-Status: 200"]);
    assert!(!callback.contains("sesame"), "{callback}");
}

/// What was in flight when the gateway ended is called again.
#[test]
fn a_gateway_that_ends_in_the_middle_of_a_call_makes_it_again() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    // The functions and the receiver outlive the gateway, and stand still while
    // it is at work.
    let outer = runtime();
    let (memory, state, mut sink) = outer.block_on(async {
        let it = Fixture::new(&[("echo", "echo")], &[]).await;
        (it.memory, it.state, it.sink)
    });
    let first = runtime();
    first.block_on(async {
        let server = serve(&memory, state.path(), &[("basic_auth", "false")]).await;
        let header = sink.header();
        let answer = request(
            server.address,
            "POST",
            "/async-function/echo",
            &[&header],
            b"x",
        )
        .await;
        assert_eq!(answer.status, 202);
        while server.open("GET", "/system/queue", "").await.json()["inflight"] == 0 {
            time::sleep(Duration::from_millis(10)).await;
        }
    });
    first.shutdown_background();
    outer.block_on(async {
        let _server = serve(&memory, state.path(), &[]).await;
        assert!(sink.next().await.ends_with("\r\n\r\nx"));
    });
}
