//! Functions scale by what they have to do.

mod support;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use gateway::{model::FunctionDeployment, provider::Provider};
use support::{
    client::{Server, start},
    deployment, id,
    memory::Memory,
};
use tokio::{task::JoinSet, time};

async fn with(labels: &[(&str, &str)], image: &str) -> (Arc<Memory>, Arc<Server>) {
    let memory = Arc::new(Memory::default());
    let label =
        |(key, value): &(&str, &str)| (format!("com.openfaas.scale.{key}"), (*value).to_owned());
    let function = FunctionDeployment {
        labels: Some(labels.iter().map(label).collect()),
        ..deployment("f", image)
    };
    memory.deploy(&id("f"), function, 1).await.unwrap();
    let server = start(Arc::clone(&memory), &[("scale_from_zero", "true")]).await;
    (memory, Arc::new(server))
}

/// Waits until the function has as many replicas, and says how long it took.
async fn wait_for(memory: &Memory, accept: impl Fn(u32) -> bool) -> Duration {
    let start = Instant::now();
    loop {
        let replicas = memory.status(&id("f")).await.unwrap().replicas;
        if accept(replicas) {
            return start.elapsed();
        }
        let waited = start.elapsed();
        assert!(waited < Duration::from_secs(30), "{replicas} replicas");
        time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn requests_in_flight_bring_replicas_and_their_end_takes_them() {
    let labels = [
        ("type", "capacity"),
        ("target", "2"),
        ("max", "4"),
        ("down.window", "1s"),
    ];
    let (memory, server) = with(&labels, "slow").await;
    let mut requests = JoinSet::new();
    for _ in 0..10 {
        let server = Arc::clone(&server);
        requests.spawn(async move { server.open("POST", "/function/f", "x").await.status });
    }
    wait_for(&memory, |replicas| replicas == 4).await;
    let answers = requests.join_all().await;
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    wait_for(&memory, |replicas| replicas == 1).await;
}

#[tokio::test]
async fn a_rate_brings_replicas() {
    let (memory, server) = with(&[("target", "10")], "echo").await;
    let calling = tokio::spawn(async move {
        loop {
            server.open("POST", "/function/f", "x").await;
            time::sleep(Duration::from_millis(10)).await;
        }
    });
    wait_for(&memory, |replicas| replicas >= 3).await;
    calling.abort();
}

#[tokio::test]
async fn an_idle_function_goes_to_zero_and_comes_back_with_a_request() {
    let (memory, server) = with(&[("zero", "true"), ("zero-duration", "1s")], "echo").await;
    // It was never called, and goes all the same.
    wait_for(&memory, |replicas| replicas == 0).await;
    assert_eq!(server.open("POST", "/function/f", "x").await.text(), "x");
    assert_eq!(memory.status(&id("f")).await.unwrap().replicas, 1);
    wait_for(&memory, |replicas| replicas == 0).await;
}

#[tokio::test]
async fn what_is_asked_for_by_hand_stays() {
    let (memory, server) = with(&[("down.window", "0s"), ("zero", "false")], "echo").await;
    let scaled = server.admin("POST", "/system/scale-function/f", r#"{"replicas": 3}"#);
    assert_eq!(scaled.await.status, 202);
    server.open("POST", "/function/f", "x").await;
    time::sleep(Duration::from_secs(7)).await;
    assert_eq!(memory.status(&id("f")).await.unwrap().replicas, 3);
    let kept = std::fs::read_to_string(server.state.path().join("replicas.json")).unwrap();
    assert_eq!(kept, r#"{"f.openfaas-fn":3}"#);
    let gone = server.admin("DELETE", "/system/functions", r#"{"functionName": "f"}"#);
    assert_eq!(gone.await.status, 202);
    let kept = std::fs::read_to_string(server.state.path().join("replicas.json")).unwrap();
    assert_eq!(kept, "{}");
}

#[tokio::test]
async fn a_request_that_comes_while_the_last_replica_goes_waits_for_a_new_one() {
    let (memory, server) = with(&[], "echo").await;
    *memory.ending.lock().unwrap() = Duration::from_millis(500);
    let scaled = server.admin("POST", "/system/scale-function/f", r#"{"replicas": 0}"#);
    let called = async {
        time::sleep(Duration::from_millis(200)).await;
        server.open("POST", "/function/f", "x").await
    };
    let (scaled, answer) = tokio::join!(scaled, called);
    assert_eq!(
        (scaled.status, answer.status, answer.text()),
        (202, 200, "x")
    );
    assert_eq!(memory.starts.load(Ordering::Relaxed), 2);
    assert_eq!(memory.status(&id("f")).await.unwrap().replicas, 1);
}
