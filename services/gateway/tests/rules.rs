//! What callers may: how long, how much, how many at a time, and who.

mod support;

use std::{sync::Arc, time::Duration};

use gateway::{model::FunctionDeployment, provider::Provider};
use support::{
    NAMESPACE,
    client::{Server, request, start},
    deployment, id,
    memory::Memory,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

async fn with(
    image: &str,
    annotations: &[(&str, &str)],
    variables: &[(&str, &str)],
) -> (Arc<Memory>, Arc<Server>) {
    let memory = Arc::new(Memory::default());
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let function = FunctionDeployment {
        annotations: Some(annotations.iter().map(own).collect()),
        ..deployment("f", image)
    };
    memory.deploy(&id("f"), function, 1).await.unwrap();
    let server = start(Arc::clone(&memory), variables).await;
    (memory, Arc::new(server))
}

#[tokio::test]
async fn a_function_has_a_time_limit_of_its_own() {
    let shorter = &[("org.rubus.timeout", "300ms")];
    let (_, server) = with("slow", shorter, &[]).await;
    assert_eq!(server.open("POST", "/function/f", "x").await.status, 502);
    let longer = &[("org.rubus.timeout", "10s")];
    let (_, server) = with("slow", longer, &[("upstream_timeout", "300ms")]).await;
    assert_eq!(server.open("POST", "/function/f", "x").await.status, 200);

    let body = r#"{"service":"g","image":"echo","annotations":{"org.rubus.timeout":"soon"}}"#;
    let refused = server.admin("POST", "/system/functions", body).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("org.rubus.timeout"));
}

#[tokio::test]
async fn a_function_with_a_token_is_for_those_who_know_it() {
    let (memory, server) = with("echo", &[("org.rubus.token", "key")], &[]).await;
    let ask = async |header: &str| {
        let headers: &[&str] = if header.is_empty() { &[] } else { &[header] };
        request(server.address, "POST", "/function/f", headers, b"x").await
    };
    // There is no such secret yet: nobody knows it.
    assert_eq!(ask("Authorization: Bearer sesame").await.status, 401);
    memory
        .create_secret(NAMESPACE, "key", b"sesame")
        .await
        .unwrap();
    for wrong in [
        "",
        "Authorization: Bearer",
        "Authorization: Bearer ",
        "Authorization: Bearer open",
        "Authorization: Bearer sesame2",
        "Authorization: Basic sesame",
        "Authorization: sesame",
    ] {
        let answer = ask(wrong).await;
        assert_eq!(answer.status, 401, "{wrong}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let answer = ask("Authorization: Bearer sesame").await;
    assert_eq!((answer.status, answer.text()), (200, "x"));
    assert_eq!(answer.header("x-seen-authorization"), None);

    let body = r#"{"service":"g","image":"echo","annotations":{"org.rubus.token":"none"}}"#;
    let refused = server.admin("POST", "/system/functions", body).await;
    assert_eq!(
        (refused.status, refused.text()),
        (400, "unable to find secret: none")
    );
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_however_it_is_sent() {
    let (_, server) = with("echo", &[], &[("max_body", "1000")]).await;
    assert_eq!(
        server
            .open("POST", "/function/f", &"x".repeat(1000))
            .await
            .status,
        200
    );
    let refused = server.open("POST", "/function/f", &"x".repeat(1001)).await;
    assert_eq!(refused.status, 413);
    assert!(refused.text().contains("1000 bytes"), "{}", refused.text());

    for (chunks, status) in [(9, "200"), (11, "413")] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = "POST /function/f HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..chunks {
            let chunk = format!("64\r\n{}\r\n", "x".repeat(100));
            let _ = stream.write_all(chunk.as_bytes()).await;
        }
        let _ = stream.write_all(b"0\r\n\r\n").await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    let (_, server) = with("echo", &[], &[("max_body", "0")]).await;
    let large = "x".repeat(40 << 20);
    assert_eq!(
        server.open("POST", "/function/f", &large).await.body.len(),
        40 << 20
    );
}

#[tokio::test]
async fn more_requests_than_there_may_be_are_sent_away() {
    let (memory, server) = with("slow", &[], &[("max_requests", "2")]).await;
    memory
        .deploy(&id("g"), deployment("g", "echo"), 1)
        .await
        .unwrap();
    let slow = [(); 2].map(|()| {
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.open("POST", "/function/f", "x").await.status })
    });
    time::sleep(Duration::from_millis(300)).await;
    let refused = server.open("POST", "/function/g", "x").await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, Some("1"))
    );
    assert_eq!(refused.header("x-openfaas-internal"), Some("proxy"));
    for slow in slow {
        assert_eq!(slow.await.unwrap(), 200);
    }
    assert_eq!(server.open("POST", "/function/g", "x").await.status, 200);
}

#[tokio::test]
async fn a_caller_that_asks_too_often_is_sent_away() {
    let (_, server) = with("echo", &[], &[("rate_limit", "5")]).await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(server.open("POST", "/function/f", "x").await.status);
    }
    assert_eq!(statuses[..5], [200; 5]);
    assert!(statuses.contains(&429), "{statuses:?}");
    let guess = server.open("GET", "/system/functions", "").await;
    assert!(matches!(guess.status, 401 | 429));
    time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(server.open("POST", "/function/f", "x").await.status, 200);
}
