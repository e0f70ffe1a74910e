//! Listens, answers, and drains.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};

use crate::{
    classic,
    config::{Config, Mode},
    contract, duration,
    health::Health,
    log,
    metrics::Metrics,
};

/// Most bytes of a request line with its headers.
const HEADER_BYTES: usize = 64 << 10;
/// Most headers of a request.
const HEADERS: usize = 256;
/// Pause after a connection that could not be accepted (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Answer = Response<Full<Bytes>>;

struct State {
    config: Arc<Config>,
    health: Health,
    metrics: Metrics,
    slots: Option<Arc<Semaphore>>,
}

/// Serves until SIGTERM, then drains.
///
/// # Errors
/// When a port cannot be listened on, or the lock file cannot be written.
pub async fn run(config: Config, health: Health) -> Result<(), String> {
    let listener = listen(config.port).await?;
    let metrics_listener = listen(config.metrics_port).await?;
    let state = Arc::new(State {
        slots: (config.max_inflight > 0).then(|| Arc::new(Semaphore::new(config.max_inflight))),
        metrics: Metrics::default(),
        config: Arc::new(config),
        health,
    });
    let config = &state.config;
    log::line(&format!(
        "Timeouts: read: {} write: {} hard: {} health: {}.",
        duration::format(config.read_timeout),
        duration::format(config.write_timeout),
        duration::format(config.exec_timeout),
        duration::format(config.healthcheck_interval),
    ));
    log::line(&format!("Listening on port: {}", config.port));
    let mut terminate = signal(SignalKind::terminate())
        .map_err(|error| format!("cannot wait for SIGTERM: {error}"))?;

    if config.suppress_lock {
        log::line(
            "Warning: \"suppress_lock\" is enabled. No automated health-checks will be in place for your function.",
        );
    } else {
        let path = state.health.lock().display();
        log::line(&format!("Writing lock-file to: {path}"));
        state.health.write_lock().map_err(|error| {
            format!("cannot write {path}: {error}; to run without a writable temporary folder set \"suppress_lock\" to \"true\"")
        })?;
    }
    state.health.accept();
    log::line(&format!(
        "Metrics listening on port: {}",
        config.metrics_port
    ));

    let connections = GracefulShutdown::new();
    let mut stop_at = None;
    loop {
        let deadline = async {
            match stop_at {
                Some(at) => time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = listener.accept() => {
                if let Some(stream) = taken(accepted).await {
                    let connection = connection(&state, stream);
                    let connection = connections.watch(connection);
                    // A connection that breaks is its caller's affair.
                    tokio::spawn(async move { let _ = connection.await; });
                }
            }
            accepted = metrics_listener.accept() => {
                if let Some(stream) = taken(accepted).await {
                    tokio::spawn(serve_metrics(Arc::clone(&state), stream));
                }
            }
            _ = terminate.recv(), if stop_at.is_none() => {
                state.health.stop();
                let wait = state.config.healthcheck_interval;
                log::line(&format!(
                    "SIGTERM received.. shutting down server in {}",
                    duration::format(wait)
                ));
                stop_at = Some(time::Instant::now() + wait);
            }
            () = deadline => break,
        }
    }
    drop(listener);
    let limit = state.config.write_timeout;
    log::line(&format!(
        "No new connections allowed, draining up to {}",
        duration::format(limit)
    ));
    if time::timeout(limit, connections.shutdown()).await.is_err() {
        log::line("Some requests did not end in time");
    }
    Ok(())
}

/// Listens on every address; where there is no IPv6, on those of IPv4.
async fn listen(port: u16) -> Result<TcpListener, String> {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let listener = match TcpListener::bind(any).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
    };
    listener.map_err(|error| format!("cannot listen on port {port}: {error}"))
}

async fn taken(accepted: io::Result<(TcpStream, SocketAddr)>) -> Option<TcpStream> {
    match accepted {
        Ok((stream, _)) => {
            let _ = stream.set_nodelay(true);
            Some(stream)
        }
        Err(error) => {
            log::line(&format!("cannot accept a connection: {error}"));
            time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn http(read_timeout: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS)
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout((!read_timeout.is_zero()).then_some(read_timeout));
    http
}

fn connection(
    state: &Arc<State>,
    stream: TcpStream,
) -> impl hyper_util::server::graceful::GracefulConnection + Send + use<> {
    let state = Arc::clone(state);
    http(state.config.read_timeout).serve_connection(
        TokioIo::new(stream),
        service_fn(move |request| {
            let state = Arc::clone(&state);
            async move { Ok::<_, Infallible>(route(&state, request).await) }
        }),
    )
}

async fn route(state: &State, request: Request<Incoming>) -> Answer {
    if request.uri().path() == contract::HEALTH_PATH {
        return health(state, request.method());
    }
    let start = Instant::now();
    let method = request.method().clone();
    let in_flight = state.metrics.begin();
    let answer = function(state, request).await;
    drop(in_flight);
    state.metrics.answered(
        answer.status().as_u16(),
        method.as_str(),
        start.elapsed().as_secs_f64(),
    );
    answer
}

fn health(state: &State, method: &Method) -> Answer {
    if method != Method::GET {
        return empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    if state.health.is_healthy() {
        classic::plain(StatusCode::OK, "OK")
    } else {
        empty(StatusCode::SERVICE_UNAVAILABLE)
    }
}

async fn function(state: &State, request: Request<Incoming>) -> Answer {
    if !matches!(
        *request.method(),
        Method::GET | Method::POST | Method::PUT | Method::PATCH | Method::DELETE
    ) {
        return empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    let Ok(slot) = slot(state) else {
        return classic::failure(
            StatusCode::TOO_MANY_REQUESTS,
            &format!(
                "Concurrent request limit exceeded. Max concurrent requests: {}\n",
                state.config.max_inflight
            ),
        );
    };
    match state.config.mode {
        Mode::Classic => classic::serve(&state.config, request, slot).await,
    }
}

/// The right to run, where their number is bounded.
fn slot(state: &State) -> Result<Option<OwnedSemaphorePermit>, tokio::sync::TryAcquireError> {
    state
        .slots
        .as_ref()
        .map(|slots| Arc::clone(slots).try_acquire_owned())
        .transpose()
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = status;
    answer
}

async fn serve_metrics(state: Arc<State>, stream: TcpStream) {
    let http = http(state.config.read_timeout);
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = if request.uri().path() == "/metrics" {
            classic::plain(StatusCode::OK, &state.metrics.encode())
        } else {
            classic::plain(StatusCode::NOT_FOUND, "404 page not found\n")
        };
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}
