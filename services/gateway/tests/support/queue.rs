//! A gateway with a queue, and whoever takes its callbacks.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use gateway::provider::Provider;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time,
};

use super::{
    client::{Answer, Server, request, start},
    deployment, id,
    memory::Memory,
};

/// A gateway with a queue, and whoever takes its callbacks.
pub(crate) struct Fixture {
    pub(crate) memory: Arc<Memory>,
    pub(crate) server: Server,
    pub(crate) state: TempDir,
    pub(crate) sink: Sink,
}

impl Fixture {
    pub(crate) async fn new(functions: &[(&str, &str)], variables: &[(&str, &str)]) -> Self {
        let memory = Arc::new(Memory::default());
        for (name, image) in functions {
            let deployment = deployment(name, image);
            memory.deploy(&id(name), deployment, 1).await.unwrap();
        }
        let state = tempfile::tempdir().unwrap();
        let server = serve(&memory, state.path(), variables).await;
        Self {
            memory,
            server,
            state,
            sink: Sink::new(&[200]).await,
        }
    }

    /// The same folder and functions behind a new gateway.
    pub(crate) async fn restart(&mut self) {
        self.server = serve(&self.memory, self.state.path(), &[]).await;
    }

    /// Deploys a function with these annotations about retries.
    pub(crate) async fn deploy(&self, name: &str, image: &str, retry: &[(&str, &str)]) {
        let mut deployment = deployment(name, image);
        let annotations = retry
            .iter()
            .map(|(key, value)| (format!("com.openfaas.retry.{key}"), value.to_string()));
        deployment.annotations = Some(annotations.collect());
        self.memory.deploy(&id(name), deployment, 1).await.unwrap();
    }

    pub(crate) async fn call(&self, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        request(self.server.address, "POST", path, headers, body).await
    }

    /// A call whose answer goes to the sink.
    pub(crate) async fn call_back(&self, path: &str, body: &str) -> Answer {
        let header = self.sink.header();
        self.call(path, &[&header], body.as_bytes()).await
    }

    pub(crate) async fn overview(&self) -> Value {
        self.server.admin("GET", "/system/queue", "").await.json()
    }

    /// Waits until the queue is as `done` wants it.
    pub(crate) async fn until(&self, done: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let overview = self.overview().await;
            if done(&overview) {
                return overview;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{overview}");
            time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn files(&self, folder: &str) -> usize {
        let folder = self.state.path().join("queue").join(folder);
        std::fs::read_dir(folder).unwrap().count()
    }

    pub(crate) async fn invocations(&self, name: &str) -> f64 {
        let path = format!("/system/function/{name}");
        let status = self.server.admin("GET", &path, "").await.json();
        status["invocationCount"].as_f64().unwrap_or_default()
    }
}

pub(crate) async fn serve(
    memory: &Arc<Memory>,
    state: &Path,
    variables: &[(&str, &str)],
) -> Server {
    let state = state.to_str().unwrap();
    let mut all = vec![
        ("state_path", state),
        ("scale_from_zero", "true"),
        ("queue_private_callbacks", "true"),
    ];
    all.retain(|(name, _)| !variables.iter().any(|(other, _)| other == name));
    all.extend_from_slice(variables);
    start(Arc::clone(memory), &all).await
}

/// Takes callbacks, and answers them with these statuses in turn.
pub(crate) struct Sink {
    port: u16,
    taken: mpsc::UnboundedReceiver<String>,
}

impl Sink {
    pub(crate) async fn new(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, taken) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for status in statuses.iter().cycle() {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = sender.send(read_request(&mut stream).await);
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:{port}/moved\r\n\
                     Content-Length: 0\r\nConnection: close\r\n\r\n"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { port, taken }
    }

    pub(crate) fn header(&self) -> String {
        format!("X-Callback-Url: http://127.0.0.1:{}/sink?a=b", self.port)
    }

    /// The next callback, head and body.
    pub(crate) async fn next(&mut self) -> String {
        let next = time::timeout(Duration::from_secs(20), self.taken.recv());
        next.await.expect("no callback came").unwrap()
    }

    pub(crate) async fn is_quiet(&mut self, period: Duration) -> bool {
        time::timeout(period, self.taken.recv()).await.is_err()
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 65536];
        let count = stream.read(&mut buffer).await.unwrap();
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        assert!(count > 0, "a callback broke off: {text}");
    }
}

#[track_caller]
pub(crate) fn assert_holds(callback: &str, lines: &[&str]) {
    let (head, _) = callback.split_once("\r\n\r\n").unwrap();
    for line in lines {
        assert!(
            head.lines().any(|found| found.eq_ignore_ascii_case(line)),
            "no line {line:?} in {callback}"
        );
    }
}
