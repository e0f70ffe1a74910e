//! Functions that run by the clock, on a provider in memory.

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

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

/// Waits for so many calls. Returns how long that took.
async fn calls(server: &Server, name: &str, count: f64) -> Duration {
    let start = Instant::now();
    while invocations(server, name).await < count {
        let waited = start.elapsed();
        assert!(waited < Duration::from_secs(30), "{name} is not called");
        time::sleep(Duration::from_millis(20)).await;
    }
    start.elapsed()
}

#[tokio::test]
async fn a_function_runs_by_the_clock_beside_one_with_a_bad_schedule() {
    let memory = Arc::new(Memory::default());
    deploy(&memory, "bad", "echo", "whenever").await;
    deploy(&memory, "often", "echo", "@every 1s").await;
    deploy(&memory, "seldom", "echo", "@every 1h").await;
    let other = deployment("other", "echo");
    memory.deploy(&id("other"), other, 1).await.unwrap();
    let server = start(Arc::clone(&memory), &[]).await;
    let waited = calls(&server, "often", 3.0).await;
    assert!(waited > Duration::from_millis(2500), "{waited:?}");
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
    // The calls begin no earlier than one, three and five seconds from now.
    let waited = calls(&server, "slow", 3.0).await;
    assert!(waited > Duration::from_millis(6500), "{waited:?}");
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
        // What was missed is not made up for.
        let waited = calls(&server, "often", before + 3.0).await;
        assert!(waited > Duration::from_millis(1900), "{waited:?}");
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
    calls(&server, "often", 1.0).await;
    let metrics = request(server.metrics, "GET", "/metrics", &[], b"").await;
    let line =
        "gateway_function_invocation_total{code=\"200\",function_name=\"often.openfaas-fn\"} 1";
    assert!(metrics.text().contains(line), "{}", metrics.text());
}
