//! The HTTP surface, on a provider in memory.

mod support;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use gateway::{provider::Provider, server};
use support::{
    client::{AUTHORIZATION, Server, request, start},
    deployment, id,
    memory::Memory,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

async fn with(
    functions: &[(&str, &str, u32)],
    variables: &[(&str, &str)],
) -> (Arc<Memory>, Server) {
    let memory = Arc::new(Memory::default());
    for (name, image, replicas) in functions {
        let deployment = deployment(name, image);
        memory
            .deploy(&id(name), deployment, *replicas)
            .await
            .unwrap();
    }
    let server = start(Arc::clone(&memory), variables).await;
    (memory, server)
}

#[tokio::test]
async fn a_function_lives_from_its_deployment_to_its_deletion() {
    let (_, server) = with(&[], &[]).await;
    let body = r#"{"service":"echo","image":"echo:1","envProcess":"cat","envVars":{"a":"1"},
        "labels":{"team":"x"},"annotations":{"topic":"a\nb"},
        "limits":{"memory":"5Mi","cpu":"100m"},"readOnlyRootFilesystem":true}"#;
    assert_eq!(
        server.admin("GET", "/system/functions", "").await.text(),
        "[]"
    );
    // The client updates first, and deploys when there is nothing to update.
    assert_eq!(
        server.admin("PUT", "/system/functions", body).await.status,
        404
    );
    let deployed = server.admin("POST", "/system/functions", body).await;
    assert_eq!((deployed.status, deployed.text()), (202, ""));
    assert_eq!(
        server.admin("PUT", "/system/functions", body).await.status,
        202
    );
    assert_eq!(
        server.admin("POST", "/system/functions", body).await.status,
        400
    );

    let status = server
        .admin("GET", "/system/function/echo", "")
        .await
        .json();
    let expected = serde_json::json!({
        "name": "echo", "image": "echo:1", "namespace": "openfaas-fn",
        "envProcess": "cat", "envVars": {"a": "1"},
        "labels": {"team": "x", "faas_function": "echo"},
        "annotations": {"topic": "a\nb"},
        "limits": {"memory": "5Mi", "cpu": "100m"},
        "readOnlyRootFilesystem": true,
        "replicas": 1, "availableReplicas": 1, "createdAt": "2026-01-01T00:00:00Z",
    });
    assert_eq!(status, expected);

    assert_eq!(
        server.open("POST", "/function/echo", "hello").await.text(),
        "hello"
    );
    let list = server.admin("GET", "/system/functions", "").await.json();
    assert_eq!(list[0]["invocationCount"], 1.0);

    let gone = server
        .admin("DELETE", "/system/functions", r#"{"functionName":"echo"}"#)
        .await;
    assert_eq!(gone.status, 202);
    let again = server
        .admin("DELETE", "/system/functions", r#"{"functionName":"echo"}"#)
        .await;
    assert_eq!(again.status, 404);
    assert_eq!(
        server
            .admin("GET", "/system/function/echo", "")
            .await
            .status,
        404
    );
    assert_eq!(
        server.open("POST", "/function/echo", "hello").await.status,
        404
    );
}

#[tokio::test]
async fn impossible_requests_are_refused_with_a_reason() {
    let (_, server) = with(&[("echo", "echo", 1)], &[]).await;
    for (method, path, body, reason) in [
        ("POST", "/system/functions", "{", "cannot read"),
        ("POST", "/system/functions", "\"echo\"", "cannot read"),
        (
            "POST",
            "/system/functions",
            r#"{"service":"A b","image":"x"}"#,
            "service",
        ),
        (
            "POST",
            "/system/functions",
            r#"{"service":"a","image":" "}"#,
            "image",
        ),
        (
            "POST",
            "/system/functions",
            r#"{"service":"a","image":"missing"}"#,
            "fetch",
        ),
        (
            "POST",
            "/system/functions",
            r#"{"service":"a","image":"x","namespace":"kube-system"}"#,
            "namespace not valid",
        ),
        ("DELETE", "/system/functions", "{}", "functionName"),
        (
            "DELETE",
            "/system/functions",
            r#"{"functionName":""}"#,
            "functionName",
        ),
        (
            "POST",
            "/system/scale-function/echo",
            r#"{"replicas":-1}"#,
            "cannot read",
        ),
        (
            "POST",
            "/system/scale-function/echo",
            r#"{"replicas":100000}"#,
            "100000",
        ),
    ] {
        let answer = server.admin(method, path, body).await;
        assert_eq!(answer.status, 400, "{method} {path} {body}");
        assert!(answer.text().contains(reason), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_body_without_end_is_refused() {
    let (_, server) = with(&[], &[]).await;
    let body = "x".repeat(3 << 20);
    assert_eq!(
        server
            .admin("POST", "/system/functions", &body)
            .await
            .status,
        413
    );
}

#[tokio::test]
async fn replicas_are_changed_and_zero_is_one_of_them() {
    let (memory, server) = with(&[("echo", "echo", 1)], &[]).await;
    for count in [3, 1, 0] {
        let body = format!(r#"{{"serviceName":"echo","replicas":{count}}}"#);
        let answer = server
            .admin("POST", "/system/scale-function/echo", &body)
            .await;
        assert_eq!(answer.status, 202);
        assert_eq!(memory.status(&id("echo")).await.unwrap().replicas, count);
    }
    let status = server
        .admin("GET", "/system/function/echo", "")
        .await
        .json();
    assert!(status.get("replicas").is_none());
    let body = r#"{"serviceName":"none","replicas":1}"#;
    assert_eq!(
        server
            .admin("POST", "/system/scale-function/none", body)
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn functions_of_another_namespace_are_not_listed() {
    let (_, server) = with(&[("echo", "echo", 1)], &[]).await;
    let list = |query: &'static str| server.admin("GET", query, "");
    assert_eq!(list("/system/functions?namespace=other").await.text(), "[]");
    let own = list("/system/functions?namespace=openfaas-fn").await.json();
    assert_eq!(own.as_array().unwrap().len(), 1);
    assert_eq!(
        list("/system/function/echo?namespace=other").await.status,
        404
    );
    assert_eq!(list("/system/function/echo.openfaas-fn").await.status, 200);
}

#[tokio::test]
async fn only_the_password_opens_system_and_portal() {
    let (_, server) = with(&[("echo", "echo", 1)], &[]).await;
    for path in [
        "/system/functions",
        "/system/info",
        "/system/unknown",
        "/ui/",
        "/ui/app.js",
    ] {
        let answer = server.open("GET", path, "").await;
        assert_eq!(
            (answer.status, answer.text()),
            (401, "invalid credentials"),
            "{path}"
        );
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Basic realm=\"Restricted\"")
        );
        assert_ne!(server.admin("GET", path, "").await.status, 401, "{path}");
    }
    let wrong = request(
        server.address,
        "GET",
        "/system/info",
        &["Authorization: Basic YWRtaW46eA=="],
        b"",
    );
    assert_eq!(wrong.await.status, 401);
    assert_eq!(server.open("GET", "/function/echo", "").await.status, 200);
    assert_eq!(server.open("GET", "/healthz", "").await.status, 200);

    let (_, open) = with(&[], &[("basic_auth", "false")]).await;
    assert_eq!(open.open("GET", "/system/functions", "").await.status, 200);
}

#[tokio::test]
async fn unknown_paths_are_404_and_wrong_methods_405() {
    let (_, server) = with(&[("echo", "echo", 1)], &[]).await;
    let unknown = server.open("GET", "/nowhere", "").await;
    assert_eq!(
        (unknown.status, unknown.text()),
        (404, "404 page not found\n")
    );
    for path in ["/metrics", "/function/", "/function/a%2fb"] {
        assert_eq!(server.open("GET", path, "").await.status, 404, "{path}");
    }
    for (method, path) in [
        ("PATCH", "/system/functions"),
        ("GET", "/system/scale-function/echo"),
        ("POST", "/healthz"),
        ("TRACE", "/function/echo"),
    ] {
        assert_eq!(
            server.admin(method, path, "").await.status,
            405,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn info_names_what_runs() {
    let (_, server) = with(&[], &[]).await;
    let info = server.admin("GET", "/system/info", "").await.json();
    for pointer in [
        "/provider/provider",
        "/provider/orchestration",
        "/provider/version/sha",
        "/provider/version/release",
        "/version/sha",
        "/version/release",
        "/arch",
    ] {
        let value = info.pointer(pointer).and_then(|value| value.as_str());
        assert!(value.is_some_and(|value| !value.is_empty()), "{pointer}");
    }
}

#[tokio::test]
async fn a_request_reaches_the_function_as_it_was_sent() {
    let (_, server) = with(&[("echo", "echo", 1)], &[]).await;
    let headers = [
        "X-Call-Id: mine",
        "Accept: text/*",
        "TE: trailers",
        "X-Own: 1",
    ];
    let path = "/function/echo.openfaas-fn/a%20b//c?x=%26&y";
    let answer = request(server.address, "PUT", path, &headers, b"body").await;
    assert_eq!((answer.status, answer.text()), (200, "body"));
    assert_eq!(answer.header("x-seen-method"), Some("PUT"));
    assert_eq!(answer.header("x-seen-uri"), Some("/a%20b//c?x=%26&y"));
    assert_eq!(answer.header("x-seen-x-own"), Some("1"));
    assert_eq!(answer.header("x-seen-x-call-id"), Some("mine"));
    assert_eq!(answer.header("x-seen-x-forwarded-host"), Some("node:8080"));
    assert!(
        answer
            .header("x-seen-x-forwarded-for")
            .unwrap()
            .starts_with("127.0.0.1:")
    );
    assert_eq!(answer.header("x-seen-te"), None);
    assert_eq!(answer.header("x-seen-connection"), None);
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert!(answer.header("x-start-time").is_some());
    assert!(answer.header("x-served-by").unwrap().starts_with("rubus/"));
}

#[tokio::test]
async fn a_call_gets_an_id() {
    let (_, server) = with(&[("echo", "echo", 1)], &[]).await;
    let answer = server.open("POST", "/function/echo", "").await;
    let call_id = answer.header("x-call-id").unwrap();
    assert_eq!(call_id.len(), 36);
    assert_eq!(answer.header("x-seen-x-call-id"), Some(call_id));
}

#[tokio::test]
async fn the_answer_of_a_function_is_passed_on_as_it_is() {
    let (_, server) = with(&[("redirect", "redirect", 1), ("teapot", "teapot", 1)], &[]).await;
    let answer = server.open("GET", "/function/redirect", "").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (302, Some("/elsewhere"))
    );
    let answer = server.open("GET", "/function/teapot", "").await;
    assert_eq!((answer.status, answer.text()), (418, "short and stout"));
}

#[tokio::test]
async fn a_large_body_passes_through_both_ways() {
    let (_, server) = with(&[("echo", "echo", 1)], &[]).await;
    let body = vec![b'x'; 8 << 20];
    let answer = request(server.address, "POST", "/function/echo", &[], &body).await;
    assert!(answer.status == 200 && answer.body == body);
}

#[tokio::test]
async fn an_answer_is_passed_on_while_it_is_made() {
    let (_, server) = with(&[("endless", "endless", 1)], &[("upstream_timeout", "1s")]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = b"GET /function/endless HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let start = Instant::now();
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.contains("tick") {
        let count = stream.read(&mut buffer).await.unwrap();
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    assert!(start.elapsed() < Duration::from_millis(900));
    // It is cut off in the end.
    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_function_that_takes_too_long_is_a_502() {
    let (_, server) = with(&[("slow", "slow", 1)], &[("upstream_timeout", "200ms")]).await;
    let answer = server.open("GET", "/function/slow", "").await;
    assert_eq!((answer.status, answer.text()), (502, ""));
    assert_eq!(answer.header("x-openfaas-internal"), Some("proxy"));
}

#[tokio::test]
async fn a_function_at_zero_is_started_once_for_all_who_wait() {
    let (memory, server) = with(&[("echo", "late-echo", 0)], &[("scale_from_zero", "true")]).await;
    let call = || server.open("POST", "/function/echo", "hello");
    let answers = futures_util::future::join_all((0..20).map(|_| call())).await;
    for answer in answers {
        assert_eq!((answer.status, answer.text()), (200, "hello"));
    }
    assert_eq!(memory.starts.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_body_of_a_request_is_not_asked_for_before_the_function_runs() {
    let (_, server) = with(&[("echo", "late-echo", 0)], &[("scale_from_zero", "true")]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = b"POST /function/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let start = Instant::now();
    stream.write_all(head).await.unwrap();
    let mut buffer = [0; 1024];
    let count = stream.read(&mut buffer).await.unwrap();
    assert!(buffer[..count].starts_with(b"HTTP/1.1 100 "));
    assert!(start.elapsed() >= Duration::from_millis(300));
    stream.write_all(b"ok").await.unwrap();
    let count = stream.read(&mut buffer).await.unwrap();
    assert!(buffer[..count].starts_with(b"HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_function_at_zero_is_a_503_where_starting_is_off() {
    let (_, server) = with(&[("echo", "echo", 0)], &[]).await;
    let answer = server.open("POST", "/function/echo", "").await;
    assert_eq!(
        (answer.status, answer.text()),
        (503, "No endpoints available for: echo.")
    );
}

#[tokio::test]
async fn replicas_take_turns() {
    let (_, server) = with(&[("echo", "echo", 3)], &[]).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..6 {
        let answer = server.open("GET", "/function/echo", "").await;
        seen.insert(answer.header("x-seen-host").unwrap().to_owned());
    }
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn a_replica_that_moved_is_found_again() {
    let (memory, server) = with(&[("echo", "echo", 1)], &[("scale_from_zero", "true")]).await;
    assert_eq!(server.open("POST", "/function/echo", "1").await.status, 200);
    memory.crash_and_move(&id("echo")).await;
    assert_eq!(server.open("POST", "/function/echo", "2").await.text(), "2");
}

#[tokio::test]
async fn while_the_engine_is_away_everything_says_so_and_then_works_again() {
    let (memory, server) = with(&[("echo", "echo", 1)], &[]).await;
    *memory.away.lock().unwrap() = true;
    for (method, path, body) in [
        ("GET", "/system/functions", ""),
        ("GET", "/system/function/echo", ""),
        (
            "POST",
            "/system/functions",
            r#"{"service":"a","image":"echo"}"#,
        ),
        ("POST", "/function/echo", ""),
    ] {
        let answer = server.admin(method, path, body).await;
        assert_eq!(answer.status, 503, "{method} {path}");
        assert!(answer.text().contains("the engine is away"));
    }
    let health = server.open("GET", "/healthz", "").await;
    assert_eq!(
        (health.status, health.json()["provider"].as_str()),
        (200, Some("unavailable"))
    );
    *memory.away.lock().unwrap() = false;
    assert_eq!(server.open("POST", "/function/echo", "").await.status, 200);
    let health = server.open("GET", "/healthz", "").await;
    assert_eq!(health.json()["provider"], "ready");

    *memory.silent.lock().unwrap() = true;
    let health = server.open("GET", "/healthz", "").await;
    assert_eq!(
        (health.status, health.json()["provider"].as_str()),
        (200, Some("unavailable"))
    );
}

#[tokio::test]
async fn metrics_have_a_port_of_their_own() {
    let (_, server) = with(&[("echo", "echo", 2)], &[]).await;
    server.open("POST", "/function/echo", "").await;
    server.open("POST", "/function/unknown", "").await;
    let answer = request(server.metrics, "GET", "/metrics", &[], b"").await;
    for line in [
        "gateway_function_invocation_total{code=\"200\",function_name=\"echo.openfaas-fn\"} 1",
        "gateway_function_invocation_started{function_name=\"echo.openfaas-fn\"} 1",
        "gateway_functions_seconds_count{code=\"200\",function_name=\"echo.openfaas-fn\"} 1",
        "gateway_service_count{function_name=\"echo.openfaas-fn\"} 2",
    ] {
        assert!(
            answer.text().lines().any(|have| have == line),
            "{line}\n{}",
            answer.text()
        );
    }
    // Names that callers make up are not kept.
    assert!(!answer.text().contains("unknown"));
    let health = request(server.metrics, "GET", "/healthz", &[], b"").await;
    assert_eq!((health.status, health.text()), (200, "OK"));
    let wrong = request(server.metrics, "POST", "/healthz", &[AUTHORIZATION], b"").await;
    assert_eq!(wrong.status, 405);
}

/// Sends a request that asks for another protocol, and gives the head of the
/// answer and the connection.
async fn ask_for(server: &Server, protocol: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /function/live/chat HTTP/1.1\r\nHost: node\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: {protocol}\r\nSec-WebSocket-Key: key\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    (
        String::from_utf8(head).unwrap().to_ascii_lowercase(),
        stream,
    )
}

#[tokio::test]
async fn web_sockets_are_passed_through_for_longer_than_requests_may_take() {
    let (_, server) = with(&[("live", "socket", 1)], &[("upstream_timeout", "300ms")]).await;
    let (head, mut stream) = ask_for(&server, "WebSocket").await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(
        head.contains("sec-websocket-accept: accepted\r\n"),
        "{head}"
    );
    assert!(head.contains("x-call-id: "), "{head}");
    for round in 0..3_u8 {
        stream.write_all(&[0, round, 255]).await.unwrap();
        let mut echo = [0; 3];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, [0, round, 255]);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    let metrics = request(server.metrics, "GET", "/metrics", &[], b"").await;
    let counted =
        "gateway_function_invocation_total{code=\"101\",function_name=\"live.openfaas-fn\"} 1";
    assert!(metrics.text().contains(counted), "{}", metrics.text());
}

#[tokio::test]
async fn no_other_protocol_leads_past_the_gateway() {
    let (_, server) = with(&[("live", "socket", 1)], &[]).await;
    let (head, _) = ask_for(&server, "h2c").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(!head.contains("upgrade: "), "{head}");
}

#[tokio::test]
async fn a_gateway_that_stops_lets_requests_end() {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let slow = axum::Router::new().fallback(async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        "done"
    });
    let until = async { drop(stopped.await) };
    let serving = tokio::spawn(server::serve(listener, slow, Duration::from_secs(9), until));
    let mut idle = TcpStream::connect(address).await.unwrap();
    let asked = tokio::spawn(async move { request(address, "GET", "/", &[], b"").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.send(()).unwrap();
    let answer = asked.await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "done"));
    serving.await.unwrap();
    assert_eq!(
        idle.read(&mut [0; 1]).await.unwrap(),
        0,
        "nobody waits for it"
    );
    assert!(TcpStream::connect(address).await.is_err());
}
