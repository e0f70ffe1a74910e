//! Connections to functions, kept for the next request.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::body::Body;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{self, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time};

/// How long a connection is kept without use: shorter than the time after which
/// a watchdog closes it.
const KEEP: Duration = Duration::from_secs(10);
/// Most connections kept to one endpoint.
const KEEP_MOST: usize = 64;
/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

type Idle = HashMap<SocketAddr, Vec<(SendRequest<Body>, Instant)>>;

/// The connections that wait for a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool(Arc<Mutex<Idle>>);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection could be made. Nothing was sent; the request is given back.
    Connect(Box<Request<Body>>),
    /// The connection broke with the request on its way.
    Broken,
}

impl Pool {
    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(
        &self,
        endpoint: SocketAddr,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        if let Ok(host) = HeaderValue::from_str(&endpoint.to_string()) {
            request.headers_mut().insert(header::HOST, host);
        }
        loop {
            let (mut sender, kept) = match self.take(endpoint) {
                Some(sender) => (sender, true),
                None => match connect(endpoint).await {
                    Ok(sender) => (sender, false),
                    Err(_) => return Err(Failure::Connect(Box::new(request))),
                },
            };
            match sender.try_send_request(request).await {
                Ok(answer) => {
                    self.keep_when_done(endpoint, sender);
                    return Ok(answer);
                }
                Err(mut error) => match error.take_message() {
                    // It was closed while it waited; nothing of the request
                    // was sent, so another one may.
                    Some(returned) if kept => request = returned,
                    Some(returned) => return Err(Failure::Connect(Box::new(returned))),
                    None => return Err(Failure::Broken),
                },
            }
        }
    }

    /// A connection that is still open, the one used last.
    fn take(&self, endpoint: SocketAddr) -> Option<SendRequest<Body>> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle.get_mut(&endpoint)?;
        while let Some((sender, since)) = waiting.pop() {
            if sender.is_ready() && since.elapsed() < KEEP {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps a connection once its answer was read to the end.
    fn keep_when_done(&self, endpoint: SocketAddr, mut sender: SendRequest<Body>) {
        let pool = self.clone();
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                pool.keep(endpoint, sender);
            }
        });
    }

    fn keep(&self, endpoint: SocketAddr, sender: SendRequest<Body>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, waiting| {
            waiting.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < KEEP);
            !waiting.is_empty()
        });
        let waiting = idle.entry(endpoint).or_default();
        if waiting.len() < KEEP_MOST {
            waiting.push((sender, Instant::now()));
        }
    }
}

async fn connect(
    endpoint: SocketAddr,
) -> Result<SendRequest<Body>, Box<dyn std::error::Error + Send + Sync>> {
    let stream = time::timeout(CONNECT_LIMIT, TcpStream::connect(endpoint)).await??;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await?;
    // What goes wrong on it is told to the sender as well.
    tokio::spawn(async move {
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}
