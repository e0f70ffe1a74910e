//! What of `/system` is not functions: secrets, namespaces, logs, alerts.

mod support;

use std::sync::Arc;

use gateway::{model::FunctionId, provider::Provider};
use serde_json::{Value, json};
use support::{
    NAMESPACE,
    client::{Answer, Server, start},
    deployment, id,
    memory::Memory,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn gateway() -> (Arc<Memory>, Server) {
    let memory = Arc::new(Memory::default());
    let server = start(Arc::clone(&memory), &[]).await;
    (memory, server)
}

async fn ask(server: &Server, method: &str, path: &str, body: Value) -> (u16, String) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let answer: Answer = server.admin(method, path, &body).await;
    (answer.status, answer.text().to_owned())
}

#[tokio::test]
async fn secrets_go_in_and_never_out() {
    const PATH: &str = "/system/secrets";
    let (memory, server) = gateway().await;
    let ask = |method, body| ask(&server, method, PATH, body);
    assert_eq!(ask("GET", Value::Null).await, (200, "[]".to_owned()));

    let token = json!({"name": "token", "namespace": NAMESPACE, "value": "hush\n"});
    assert_eq!(ask("POST", token.clone()).await, (201, String::new()));
    assert_eq!(ask("POST", token.clone()).await.0, 409);
    let kept = memory.secret(NAMESPACE, "token");
    assert_eq!(kept.as_deref(), Some(&b"hush\n"[..]), "to the byte");
    let (status, told) = ask("GET", Value::Null).await;
    assert_eq!(status, 200);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told, json!([{"name": "token", "namespace": NAMESPACE}]));

    // A raw value counts before the other; an empty one does not count.
    let raw = json!({"name": "token", "value": "x", "rawValue": "AP8="});
    assert_eq!(ask("PUT", raw).await.0, 202);
    let kept = memory.secret(NAMESPACE, "token");
    assert_eq!(kept.as_deref(), Some(&[0, 255][..]));
    let empty = json!({"name": "token", "value": "text", "rawValue": ""});
    assert_eq!(ask("PUT", empty).await.0, 202);
    let kept = memory.secret(NAMESPACE, "token");
    assert_eq!(kept.as_deref(), Some(&b"text"[..]));

    let none = json!({"name": "none", "value": "x"});
    assert_eq!(ask("PUT", none.clone()).await.0, 404);
    assert_eq!(ask("DELETE", none).await.0, 404);
    assert_eq!(ask("DELETE", json!({"name": "token"})).await.0, 202);
    assert_eq!(ask("DELETE", json!({"name": "token"})).await.0, 404);
}

#[tokio::test]
async fn impossible_secrets_are_refused_with_a_reason() {
    let (_, server) = gateway().await;
    for (body, reason) in [
        (json!({"name": "", "value": "x"}), "name"),
        (json!({"name": "../../etc/passwd", "value": "x"}), "name"),
        (json!({"name": "a/b", "value": "x"}), "name"),
        (json!({"value": "x"}), "name"),
        (json!({"name": "a", "rawValue": "%"}), "rawValue"),
        (json!({"name": "a", "namespace": "nowhere"}), "namespace"),
        (json!(["a"]), "cannot read"),
    ] {
        let (status, told) = ask(&server, "POST", "/system/secrets", body.clone()).await;
        assert_eq!(status, 400, "{body}");
        assert!(told.contains(reason), "{body}: {told}");
    }
    // A namespace that leads elsewhere has none.
    let path = "/system/secrets?namespace=../../etc";
    let listed = server.admin("GET", path, "").await;
    assert_eq!((listed.status, listed.text()), (200, "[]"));
    let without = server.open("GET", "/system/secrets", "").await;
    assert_eq!(without.status, 401);
}

#[tokio::test]
async fn a_function_with_a_secret_that_is_not_there_is_not_deployed() {
    let (_, server) = gateway().await;
    let function = json!({"service": "f", "image": "echo", "secrets": ["token"]});
    let refused = ask(&server, "POST", "/system/functions", function.clone()).await;
    assert_eq!(refused, (400, "unable to find secret: token".to_owned()));
    let secret = json!({"name": "token", "value": "x"});
    ask(&server, "POST", "/system/secrets", secret).await;
    let deployed = ask(&server, "POST", "/system/functions", function).await;
    assert_eq!(deployed.0, 202);
    let status = server.admin("GET", "/system/function/f", "").await.json();
    assert_eq!(status["secrets"], json!(["token"]));
}

#[tokio::test]
async fn functions_live_in_namespaces() {
    let (_, server) = gateway().await;
    let ask = |method, path, body| ask(&server, method, path, body);
    let names = || async { ask("GET", "/system/namespaces", Value::Null).await.1 };
    assert_eq!(names().await, r#"["openfaas-fn"]"#);
    let dev = json!({"name": "dev", "labels": {"openfaas": "1"}, "annotations": {"a": "b"}});
    assert_eq!(ask("POST", "/system/namespace/", dev.clone()).await.0, 201);
    assert_eq!(ask("POST", "/system/namespace/", dev.clone()).await.0, 409);
    assert_eq!(names().await, r#"["dev","openfaas-fn"]"#);
    let (status, told) = ask("GET", "/system/namespace/dev", Value::Null).await;
    assert_eq!((status, serde_json::from_str(&told).ok()), (200, Some(dev)));
    assert_eq!(ask("GET", "/system/namespace/no", Value::Null).await.0, 404);
    assert_eq!(ask("PUT", "/system/namespace/no", json!({})).await.0, 404);
    let changed = json!({"name": "dev", "labels": {"openfaas": "1", "team": "x"}});
    assert_eq!(ask("PUT", "/system/namespace/dev", changed).await.0, 202);
    let told = ask("GET", "/system/namespace/dev", Value::Null).await.1;
    assert!(told.contains("team"), "{told}");

    // The same name in two of them: in the body, in the query, and in the path.
    let function = json!({"service": "f", "image": "echo"});
    assert_eq!(
        ask("POST", "/system/functions", function.clone()).await.0,
        202
    );
    let there = "/system/functions?namespace=dev";
    assert_eq!(ask("POST", there, function.clone()).await.0, 202);
    assert_eq!(ask("POST", there, function).await.0, 400);
    let listed: Value = serde_json::from_str(&ask("GET", there, Value::Null).await.1).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["namespace"], "dev");
    assert_eq!(
        server.open("POST", "/function/f.dev", "x").await.text(),
        "x"
    );
    assert_eq!(server.open("POST", "/function/f.no", "x").await.status, 404);
    let status = ask("GET", "/system/function/f?namespace=dev", Value::Null).await;
    assert!(status.1.contains(r#""invocationCount":1"#), "{}", status.1);

    let (status, reason) = ask("DELETE", "/system/namespace/dev", json!({"name": "dev"})).await;
    assert_eq!(status, 400);
    assert!(reason.contains("function f"), "{reason}");
    let gone = json!({"functionName": "f", "namespace": "dev"});
    assert_eq!(ask("DELETE", "/system/functions", gone).await.0, 202);
    assert_eq!(
        ask("DELETE", "/system/namespace/dev", Value::Null).await.0,
        202
    );
    assert_eq!(
        ask("DELETE", "/system/namespace/dev", Value::Null).await.0,
        404
    );
    let (status, reason) = ask("DELETE", "/system/namespace/openfaas-fn", Value::Null).await;
    assert_eq!(status, 400, "{reason}");
    assert_eq!(server.open("POST", "/function/f", "x").await.text(), "x");
}

#[tokio::test]
async fn impossible_namespaces_are_refused() {
    let (_, server) = gateway().await;
    for name in ["", "A", "a b", "../x", "a.b"] {
        let body = json!({"name": name});
        let (status, told) = ask(&server, "POST", "/system/namespace/", body).await;
        assert_eq!(status, 400, "{name}");
        assert!(told.starts_with("name"), "{told}");
    }
}

#[tokio::test]
async fn logs_are_one_object_a_line() {
    let (memory, server) = gateway().await;
    let sent = deployment("talker", "echo");
    memory.deploy(&id("talker"), sent, 3).await.unwrap();
    let lines = |query: &str| {
        let path = format!("/system/logs?name=talker{query}");
        let server = &server;
        async move {
            let answer = server.admin("GET", &path, "").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
            let lines = answer.text().lines();
            let read = |line| serde_json::from_str::<Value>(line).unwrap();
            lines.map(read).collect::<Vec<_>>()
        }
    };
    let all = lines("").await;
    assert_eq!(all.len(), 3);
    let first = json!({"name": "talker", "namespace": NAMESPACE, "text": "this is 0",
        "instance": "talker.openfaas-fn.0", "timestamp": "2026-01-01T00:00:00Z"});
    assert_eq!(all[0], first);
    assert_eq!(lines("&tail=-1&follow=false&since=").await.len(), 3);
    assert_eq!(lines("&tail=2").await.len(), 2);
    assert_eq!(lines("&instance=talker.openfaas-fn.1").await.len(), 1);
    assert_eq!(lines("&since=2026-01-01T01:00:01%2B01:00").await.len(), 2);

    for (query, status) in [
        ("?name=none", 404),
        ("", 400),
        ("?name=talker&tail=many", 422),
        ("?name=talker&since=yesterday", 422),
    ] {
        let answer = server
            .admin("GET", &format!("/system/logs{query}"), "")
            .await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
    }
}

#[tokio::test]
async fn logs_that_are_followed_arrive_at_once_and_go_on() {
    let (memory, server) = gateway().await;
    let sent = deployment("talker", "echo");
    memory.deploy(&id("talker"), sent, 1).await.unwrap();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /system/logs?name=talker&follow=true HTTP/1.1\r\nHost: node\r\n{}\r\n\r\n",
        support::client::AUTHORIZATION
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("this is 0") {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "it ended: {seen}");
        seen.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
}

#[tokio::test]
async fn alerts_scale_functions_as_upstream_does() {
    let (memory, server) = gateway().await;
    let mut sent = deployment("busy", "echo");
    sent.labels = Some(
        [
            ("com.openfaas.scale.max", "5"),
            ("com.openfaas.scale.factor", "40"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
    );
    memory.deploy(&id("busy"), sent, 1).await.unwrap();
    let alert = |status: &str, function: &str| {
        json!({"receiver": "scale-up", "status": status, "alerts": [{"status": status,
            "labels": {"alertname": "APIHighInvocationRate", "function_name": function}}]})
    };
    let told = |body| ask(&server, "POST", "/system/alert", body);
    let replicas = |name: &'static str| {
        let memory = Arc::clone(&memory);
        let id = FunctionId::parse(name, NAMESPACE);
        async move { memory.status(&id).await.unwrap().replicas }
    };
    for (status, expected) in [("firing", 3), ("firing", 5), ("firing", 5), ("resolved", 1)] {
        let answer = told(alert(status, "busy.openfaas-fn")).await;
        assert_eq!(answer, (200, String::new()));
        assert_eq!(replicas("busy").await, expected, "{status}");
    }
    // Whom nobody knows, or nobody names, is passed over.
    for function in ["none.openfaas-fn", ""] {
        assert_eq!(told(alert("firing", function)).await.0, 200);
    }
    assert_eq!(told(json!({})).await.0, 200);
    let refused = told(json!("firing")).await;
    assert_eq!(refused.0, 400);
    assert_eq!(refused.1, "Unable to parse alert, bad format.");
    *memory.away.lock().unwrap() = true;
    let (status, reason) = told(alert("firing", "busy")).await;
    assert_eq!((status, reason.as_str()), (500, "[0] the engine is away\n"));
}

#[tokio::test]
async fn what_replicas_use_is_told_when_asked_for() {
    let (memory, server) = gateway().await;
    memory
        .deploy(&id("f"), deployment("f", "echo"), 2)
        .await
        .unwrap();
    let usage = |query: &'static str| {
        let path = format!("/system/function/f{query}");
        let server = &server;
        async move { server.admin("GET", &path, "").await.json()["usage"].clone() }
    };
    assert_eq!(usage("").await, Value::Null);
    let expected = json!({"cpu": 20.0, "totalMemoryBytes": 2000.0});
    assert_eq!(usage("?usage=1").await, expected);
    assert_eq!(usage("?usage=true").await, expected);
    memory.scale(&id("f"), 0).await.unwrap();
    assert_eq!(usage("?usage=1").await, Value::Null);
}

#[tokio::test]
async fn the_front_door_leads_to_the_portal() {
    let (_, server) = gateway().await;
    let answer = server.open("GET", "/", "").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (307, Some("/ui/"))
    );
    assert_eq!(server.open("POST", "/", "").await.status, 405);
}
