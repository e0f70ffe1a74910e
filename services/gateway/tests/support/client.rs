//! A gateway on a port of its own, and requests to it.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use gateway::{
    api::{self, Gateway},
    auth::Credentials,
    config::Config,
    provider::Provider,
    scaling::scaler,
    server,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The header that opens a gateway started with a password.
pub(crate) const AUTHORIZATION: &str = "Authorization: Basic YWRtaW46c2VjcmV0";

/// A running gateway.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
    /// What it keeps.
    pub(crate) state: TempDir,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// Starts a gateway with these variables.
pub(crate) async fn start<P: Provider>(provider: Arc<P>, variables: &[(&str, &str)]) -> Server {
    let state = tempfile::tempdir().unwrap();
    let config = Config::read(|name| {
        let found = variables.iter().find(|(key, _)| *key == name);
        let found = found.map(|(_, value)| (*value).to_owned());
        let state = || state.path().display().to_string();
        found.or_else(|| (name == "state_path").then(state))
    });
    let credentials = config
        .basic_auth
        .then(|| Credentials::new("admin", "secret"));
    let gateway = Arc::new(Gateway::new(provider, &config, credentials).unwrap());
    if config.autoscale {
        tokio::spawn(scaler::run(Arc::clone(&gateway)));
    }
    let address = listen(api::router(Arc::clone(&gateway)), config.read_timeout).await;
    let metrics = listen(api::metrics_router(gateway), config.read_timeout).await;
    Server {
        address,
        metrics,
        state,
    }
}

async fn listen(router: axum::Router, read_timeout: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(server::serve(
        listener,
        router,
        read_timeout,
        std::future::pending(),
    ));
    address
}

impl Server {
    /// A request without a password.
    pub(crate) async fn open(&self, method: &str, path: &str, body: &str) -> Answer {
        request(self.address, method, path, &[], body.as_bytes()).await
    }

    /// A request with the password.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        request(
            self.address,
            method,
            path,
            &[AUTHORIZATION],
            body.as_bytes(),
        )
        .await
    }
}

/// One request over a connection of its own, read to its end.
pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: node:8080\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).await.unwrap();
    // The gateway may answer, and close, before it has read everything.
    let _ = stream.write_all(body).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(bytes)));
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let headers: BTreeMap<String, String> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = bytes[end + 4..].to_vec();
    if headers.contains_key("transfer-encoding") {
        body = unchunk(&body);
    }
    Answer {
        status: status.parse().unwrap(),
        headers,
        body,
    }
}

/// The data of a chunked body, up to where it breaks off.
fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let length = std::str::from_utf8(&rest[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        rest = &rest[end + 2..];
        if length == 0 || rest.len() < length + 2 {
            break;
        }
        data.extend_from_slice(&rest[..length]);
        rest = &rest[length + 2..];
    }
    data
}
