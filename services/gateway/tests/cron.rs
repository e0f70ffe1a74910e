//! Functions that run by the clock, on a provider in memory.

mod support;

use std::{sync::Arc, time::Duration};

use gateway::provider::Provider;
use support::{
    client::{Server, request, start},
    deployment, id,
    memory::Memory,
};
use tokio::time;

async fn deploy(memory: &Memory, name: &str, image: &str, schedule: &str) {
    let mut deployment = deployment(name, image);
    let annotations = [("topic", "cron-function"), ("schedule", schedule)];
    let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned()));
    deployment.annotations = Some(annotations.into());
    memory.deploy(&id(name), deployment, 1).await.unwrap();
}

async fn invocations(server: &Server, name: &str) -> f64 {
    let path = format!("/system/function/{name}");
    let status = server.admin("GET", &path, "").await.json();
    status["invocationCount"].as_f64().unwrap_or_default()
}

#[tokio::test]
async fn a_function_runs_by_the_clock_beside_one_with_a_bad_schedule() {
    let memory = Arc::new(Memory::default());
    deploy(&memory, "bad", "echo", "whenever").await;
    deploy(&memory, "often", "echo", "@every 1s").await;
    deploy(&memory, "seldom", "echo", "@every 1h").await;
    memory
        .deploy(&id("other"), deployment("other", "echo"), 1)
        .await
        .unwrap();
    let server = start(Arc::clone(&memory), &[]).await;
    time::sleep(Duration::from_millis(3500)).await;
    let often = invocations(&server, "often").await;
    assert!((2.0..=3.0).contains(&often), "{often}");
    for name in ["bad", "seldom", "other"] {
        assert_eq!(invocations(&server, name).await, 0.0, "{name}");
    }
}

#[tokio::test]
async fn a_call_that_is_not_over_is_not_made_twice() {
    let memory = Arc::new(Memory::default());
    // It takes two seconds.
    deploy(&memory, "slow", "slow", "@every 1s").await;
    let server = start(Arc::clone(&memory), &[]).await;
    time::sleep(Duration::from_millis(5500)).await;
    let calls = invocations(&server, "slow").await;
    assert!((1.0..=2.0).contains(&calls), "{calls}");
}

#[tokio::test]
async fn the_clock_goes_on_when_the_engine_was_away() {
    let memory = Arc::new(Memory::default());
    deploy(&memory, "often", "echo", "@every 1s").await;
    // Already at the start, as after a boot.
    *memory.away.lock().unwrap() = true;
    let server = start(Arc::clone(&memory), &[]).await;
    for _ in 0..2 {
        time::sleep(Duration::from_millis(2500)).await;
        *memory.away.lock().unwrap() = false;
        let before = invocations(&server, "often").await;
        time::sleep(Duration::from_millis(3500)).await;
        // What was missed is not made up for.
        let calls = invocations(&server, "often").await - before;
        assert!((2.0..=4.0).contains(&calls), "{calls}");
        *memory.away.lock().unwrap() = true;
    }
}

#[tokio::test]
async fn the_clock_needs_no_token() {
    let memory = Arc::new(Memory::default());
    memory
        .create_secret("openfaas-fn", "key", b"sesame")
        .await
        .unwrap();
    let mut deployment = deployment("often", "echo");
    let annotations = [
        ("topic", "cron-function"),
        ("schedule", "@every 1s"),
        ("org.rubus.token", "key"),
    ];
    let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned()));
    deployment.annotations = Some(annotations.into());
    memory.deploy(&id("often"), deployment, 1).await.unwrap();
    let server = start(Arc::clone(&memory), &[]).await;
    time::sleep(Duration::from_millis(1500)).await;
    let metrics = request(server.metrics, "GET", "/metrics", &[], b"").await;
    let line =
        "gateway_function_invocation_total{code=\"200\",function_name=\"often.openfaas-fn\"} 1";
    assert!(metrics.text().contains(line), "{}", metrics.text());
}
