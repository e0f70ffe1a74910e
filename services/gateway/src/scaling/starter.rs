//! Starts functions that have no replicas, and waits until they answer.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http_body_util::Empty;
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::{Notify, watch},
    time::{self, Instant},
};
use watchdog::contract;

use crate::{
    model::FunctionId,
    provider::{Error, Provider, Result},
    scaling::limits,
};

/// How long a function may take from its start to its first answer.
const START_LIMIT: Duration = Duration::from_secs(100);
/// How long one that listens may call itself unhealthy before it is taken at
/// its word that it listens: without a lock file a watchdog is never healthy.
const UNHEALTHY_LIMIT: Duration = Duration::from_secs(5);
/// How long one probe may take.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// First and longest pause between two probes.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Functions that are going to have no replicas.
type Closing = Mutex<HashSet<FunctionId>>;
type Starts = Mutex<HashMap<FunctionId, watch::Receiver<Option<Result<()>>>>>;

/// Starts functions, each once however many requests wait for it.
#[derive(Debug)]
pub(crate) struct Starter<P> {
    provider: Arc<P>,
    starts: Arc<Starts>,
    closing: Arc<(Closing, Notify)>,
}

impl<P: Provider> Starter<P> {
    pub(crate) fn new(provider: Arc<P>) -> Self {
        Self {
            provider,
            starts: Arc::default(),
            closing: Arc::default(),
        }
    }

    /// Changes the number of replicas. While the last ones go, requests wait for
    /// a new one: one that is ending could break off what it is sent.
    pub(crate) async fn scale(&self, id: &FunctionId, replicas: u32) -> Result<()> {
        if replicas > 0 {
            return self.provider.scale(id, replicas).await;
        }
        self.closing().insert(id.clone());
        let result = self.provider.scale(id, 0).await;
        self.closing().remove(id);
        self.closing.1.notify_waiters();
        result
    }

    /// Whether the last replicas of a function are going.
    pub(crate) fn is_closing(&self, id: &FunctionId) -> bool {
        let closing = self.closing();
        !closing.is_empty() && closing.contains(id)
    }

    fn closing(&self) -> MutexGuard<'_, HashSet<FunctionId>> {
        self.closing
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a replica of the function answers, starting one where there
    /// is none. The start goes on when the caller goes.
    pub(crate) async fn start(&self, id: &FunctionId) -> Result<()> {
        let mut start = self.join(id);
        let result = start.wait_for(Option::is_some).await;
        match result.as_deref() {
            Ok(Some(result)) => result.clone(),
            // The task ended without a word, which takes a panic.
            _ => Err(Error::Failed(format!("the start of {id} was given up"))),
        }
    }

    /// The start that is under way, or a new one.
    fn join(&self, id: &FunctionId) -> watch::Receiver<Option<Result<()>>> {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(start) = starts.get(id).filter(|start| start.has_changed().is_ok()) {
            return start.clone();
        }
        let (sender, receiver) = watch::channel(None);
        starts.insert(id.clone(), receiver.clone());
        let (provider, all, closing, id) = (
            Arc::clone(&self.provider),
            Arc::clone(&self.starts),
            Arc::clone(&self.closing),
            id.clone(),
        );
        tokio::spawn(async move {
            let work = async {
                closed(&closing, &id).await;
                start(&*provider, &id).await
            };
            let result = time::timeout(START_LIMIT, work).await.unwrap_or_else(|_| {
                Err(Error::Unavailable(format!(
                    "{id} did not answer within {} seconds of its start",
                    START_LIMIT.as_secs()
                )))
            });
            all.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&id);
            sender.send_replace(Some(result));
        });
        receiver
    }
}

/// Waits until a function is not closing.
async fn closed(closing: &(Closing, Notify), id: &FunctionId) {
    loop {
        let mut changed = pin!(closing.1.notified());
        changed.as_mut().enable();
        let lock = closing.0.lock();
        if !lock.unwrap_or_else(PoisonError::into_inner).contains(id) {
            return;
        }
        changed.await;
    }
}

async fn start(provider: &impl Provider, id: &FunctionId) -> Result<()> {
    let mut pause = PAUSE.0;
    loop {
        let endpoints = provider.route(id).await?.endpoints;
        if !endpoints.is_empty() {
            let probes = endpoints
                .into_iter()
                .map(|endpoint| Box::pin(probe_until_ready(endpoint)));
            futures_util::future::select_all(probes).await;
            return Ok(());
        }
        let status = provider.status(id).await?;
        if status.replicas == 0 {
            provider
                .scale(id, limits::minimum(status.labels.as_ref()))
                .await?;
        } else {
            // It is wanted, and between two starts.
            time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// Nobody listens, or nobody answers.
    Silent,
    /// It listens, and says that it takes no requests.
    Unhealthy,
    /// It answers; a function without a health path answers with 404.
    Ready,
}

/// Probes a replica until it answers.
pub(crate) async fn probe_until_ready(endpoint: SocketAddr) {
    let mut pause = PAUSE.0;
    let mut unhealthy_since: Option<Instant> = None;
    loop {
        let health = time::timeout(PROBE_LIMIT, probe(endpoint))
            .await
            .unwrap_or(Health::Silent);
        match health {
            Health::Ready => return,
            Health::Silent => unhealthy_since = None,
            Health::Unhealthy => {
                let since = *unhealthy_since.get_or_insert_with(Instant::now);
                if since.elapsed() > UNHEALTHY_LIMIT {
                    return;
                }
            }
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

async fn probe(endpoint: SocketAddr) -> Health {
    match ask(endpoint).await {
        Ok(StatusCode::SERVICE_UNAVAILABLE) => Health::Unhealthy,
        Ok(_) => Health::Ready,
        Err(_) => Health::Silent,
    }
}

async fn ask(
    endpoint: SocketAddr,
) -> std::result::Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(endpoint).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(contract::HEALTH_PATH)
        .header("host", endpoint.to_string())
        .body(Empty::<Bytes>::new())?;
    // It ends with the sender, at the end of this function.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender.send_request(request).await?.status())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// Answers every connection with one of these heads in turn.
    async fn server(heads: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for head in heads.iter().cycle() {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn whoever_answers_is_ready() {
        for (head, health) in [
            ("200 OK", Health::Ready),
            ("404 Not Found", Health::Ready),
            ("503 Service Unavailable", Health::Unhealthy),
        ] {
            let heads: &'static [&'static str] = Box::leak(Box::new([head]));
            assert_eq!(probe(server(heads).await).await, health, "{head}");
        }
        assert_eq!(probe("127.0.0.1:9".parse().unwrap()).await, Health::Silent);
    }

    #[tokio::test]
    async fn an_unhealthy_replica_is_waited_for() {
        let address = server(&["503 Not yet", "503 Not yet", "200 OK"]).await;
        time::timeout(Duration::from_secs(4), probe_until_ready(address))
            .await
            .unwrap();
    }
}
