//! Connections to the process, kept for the next request.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time};

use crate::{
    body::{Body, Error},
    config::Upstream,
    server,
};

/// How long a connection is kept without use. Servers close theirs after some
/// seconds, and one of a single thread serves nobody else meanwhile.
const KEEP: Duration = Duration::from_millis(500);
/// Most connections kept.
const KEEP_MOST: usize = 128;

/// The connections to one process.
#[derive(Clone)]
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    upstream: Upstream,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The one used last is at the end.
    connections: Vec<(SendRequest<Body>, Instant)>,
    /// Whether somebody closes those that were kept long enough.
    swept: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection could be made.
    Connect(io::Error),
    /// The connection broke, or what came over it is no HTTP.
    Broken(hyper::Error),
    /// The request itself cannot be passed on.
    Request(Error),
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        // What hyper calls its user is the body of the caller.
        if error.is_user() {
            Self::Request(error.into())
        } else {
            Self::Broken(error)
        }
    }
}

impl Failure {
    /// What the caller is told.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Connect(_) | Self::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Request(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect to the function: {error}"),
            Self::Broken(error) => {
                write!(f, "the function did not answer: {error}")?;
                source(error, f)
            }
            Self::Request(error) => {
                write!(f, "the request cannot be passed on: {error}")?;
                source(error.as_ref(), f)
            }
        }
    }
}

/// Writes what caused an error: hyper keeps that apart.
fn source(error: &dyn std::error::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error.source() {
        Some(source) => write!(f, ": {source}"),
        None => Ok(()),
    }
}

/// A connection whose answer is being read; it goes back when this is dropped.
pub(super) struct InUse {
    pool: Pool,
    connection: Option<SendRequest<Body>>,
}

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.keep(connection);
        }
    }
}

impl Pool {
    pub(super) fn new(upstream: Upstream) -> Self {
        Self(Arc::new(Shared {
            upstream,
            idle: Mutex::default(),
        }))
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, InUse), Failure> {
        loop {
            let (mut connection, kept) = match self.take() {
                Some(connection) => (connection, true),
                None => (connect(&self.0.upstream).await?, false),
            };
            match connection.try_send_request(request).await {
                Ok(answer) => {
                    let connection = InUse {
                        pool: self.clone(),
                        connection: Some(connection),
                    };
                    return Ok((answer, connection));
                }
                Err(mut error) => match error.take_message() {
                    // It was closed while it waited; nothing of the request was
                    // sent, so another one may.
                    Some(returned) if kept => request = returned,
                    _ => return Err(error.into_error().into()),
                },
            }
        }
    }

    /// A connection that is free, the one used last.
    fn take(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.lock();
        // One whose request is not sent to its end yet, though it was answered,
        // is not free.
        let last = idle
            .connections
            .iter()
            .rposition(|(connection, _)| connection.is_ready())?;
        Some(idle.connections.remove(last).0)
    }

    fn keep(&self, connection: SendRequest<Body>) {
        let mut idle = self.lock();
        if connection.is_closed() || idle.connections.len() >= KEEP_MOST {
            return;
        }
        idle.connections.push((connection, Instant::now()));
        if !std::mem::replace(&mut idle.swept, true) {
            tokio::spawn(self.clone().sweep());
        }
    }

    /// Closes connections that were kept long enough, until there are none.
    async fn sweep(self) {
        loop {
            time::sleep(KEEP).await;
            let mut idle = self.lock();
            idle.connections
                .retain(|(connection, since)| !connection.is_closed() && since.elapsed() < KEEP);
            if idle.connections.is_empty() {
                idle.connections = Vec::new();
                idle.swept = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a connection to the process.
pub(super) async fn reach(upstream: &Upstream) -> io::Result<TcpStream> {
    if upstream.addresses.is_empty() {
        TcpStream::connect((upstream.host.as_str(), upstream.port)).await
    } else {
        TcpStream::connect(upstream.addresses.as_slice()).await
    }
}

async fn connect(upstream: &Upstream) -> Result<SendRequest<Body>, Failure> {
    let stream = reach(upstream).await.map_err(Failure::Connect)?;
    stream.set_nodelay(true).map_err(Failure::Connect)?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(server::HEADER_BYTES)
        .max_headers(server::HEADERS)
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(Failure::Broken)?;
    // What goes wrong on it is told to the sender as well.
    tokio::spawn(async move {
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}
