//! Listens, and drains.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::{Request, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    time,
};

use crate::{
    answer,
    children::Children,
    config::{Config, Mode},
    connections::Connections,
    duration,
    health::Health,
    http, log,
    route::{self, State},
};

/// Most bytes of the head of a request or of an answer, and what a connection
/// buffers.
pub(crate) const HEADER_BYTES: usize = 64 << 10;
/// Most headers of a request or of an answer.
pub(crate) const HEADERS: usize = 256;
/// Pause after a connection that could not be accepted (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until SIGTERM, then drains.
///
/// # Errors
/// When a port cannot be listened on, the lock file cannot be written, or the
/// process that serves all requests cannot be started or fails.
pub async fn run(config: Config, health: Health) -> Result<(), String> {
    let listener = listen(config.port).await?;
    let metrics_listener = listen(config.metrics_port).await?;
    let mut terminate = signal(SignalKind::terminate())
        .map_err(|error| format!("cannot wait for SIGTERM: {error}"))?;
    let children = Children::watch()?;
    greet(&config);
    let (proxy, mut process) = match &config.mode {
        Mode::Http(http) => {
            let (proxy, process) = http::Proxy::start(&config, http, &children)?;
            (Some(proxy), Some(process))
        }
        _ => (None, None),
    };
    let state = Arc::new(State::new(config, health, children, proxy));
    announce(&state)?;

    let server = server(state.config.read_timeout);
    let connections = Connections::new();
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
                if let Some(stream) = taken(accepted, &state.config).await {
                    let state = Arc::clone(&state);
                    let service = service_fn(move |request| {
                        let state = Arc::clone(&state);
                        async move { Ok::<_, Infallible>(route::serve(&state, request).await) }
                    });
                    let connection = server.serve_connection(TokioIo::new(stream), service);
                    connections.serve(connection.with_upgrades());
                }
            }
            accepted = metrics_listener.accept() => {
                if let Some(stream) = taken(accepted, &state.config).await {
                    tokio::spawn(serve_metrics(Arc::clone(&state), stream));
                }
            }
            _ = terminate.recv(), if stop_at.is_none() => {
                state.health.stop();
                if let Some(process) = &process {
                    process.terminate();
                }
                stop_at = Some(time::Instant::now() + announce_stop(&state));
            }
            result = ended(&mut process) => {
                process = None;
                if stop_at.is_some() {
                    // Nobody is left who could answer.
                    break;
                }
                result?;
            }
            () = deadline => break,
        }
    }
    drop(listener);
    drain(&state, &connections).await;
    Ok(())
}

/// Waits for the end of the process that serves all requests, if there is one.
async fn ended(process: &mut Option<http::Process>) -> Result<(), String> {
    match process {
        Some(process) => process.ended().await,
        None => std::future::pending().await,
    }
}

fn greet(config: &Config) {
    let (mode, process) = match &config.mode {
        Mode::Classic(_) => return,
        Mode::Http(_) => ("http", config.process.join(" ")),
        Mode::Streaming => ("streaming", config.process.join(" ")),
        Mode::Serializing => ("serializing", config.process.join(" ")),
        Mode::Static(folder) => {
            log::line(format_args!("Serving files at: {}", folder.display()));
            ("static", String::new())
        }
    };
    log::line(format_args!(
        "Watchdog mode: {mode}\tfprocess: \"{process}\""
    ));
}

/// Says that requests are taken: in the log, and by the lock file.
fn announce(state: &State) -> Result<(), String> {
    let config = &state.config;
    let end = if config.is_classic() { "." } else { "" };
    log::line(format_args!(
        "Timeouts: read: {} write: {} hard: {} health: {}{end}",
        duration::format(config.read_timeout),
        duration::format(config.write_timeout),
        duration::format(config.exec_timeout),
        duration::format(config.healthcheck_interval),
    ));
    log::line(format_args!("Listening on port: {}", config.port));
    if config.suppress_lock {
        log::line(
            "Warning: \"suppress_lock\" is enabled. No automated health-checks will be in place for your function.",
        );
    } else {
        let path = state.health.lock().display();
        log::line(format_args!("Writing lock-file to: {path}"));
        state.health.write_lock().map_err(|error| {
            format!("cannot write {path}: {error}; to run without a writable temporary folder set \"suppress_lock\" to \"true\"")
        })?;
    }
    state.health.accept();
    log::line(format_args!(
        "Metrics listening on port: {}",
        config.metrics_port
    ));
    Ok(())
}

/// Says that the end begins; returns for how long requests are still taken.
fn announce_stop(state: &State) -> Duration {
    let config = &state.config;
    let wait = duration::format(config.healthcheck_interval);
    if config.is_classic() {
        log::line(format_args!(
            "SIGTERM received.. shutting down server in {wait}"
        ));
    } else {
        let lock = state.health.lock().display();
        log::line(format_args!("SIGTERM: no new connections in {wait}"));
        log::line(format_args!("Removing lock-file : {lock}"));
    }
    config.healthcheck_interval
}

/// Lets requests end that are under way.
async fn drain(state: &State, connections: &Connections) {
    let limit = state.config.write_timeout;
    let in_flight = || state.metrics.in_flight();
    if state.config.is_classic() {
        log::line(format_args!(
            "No new connections allowed, draining up to {}",
            duration::format(limit)
        ));
    } else {
        log::line(format_args!(
            "No new connections allowed, draining: {} requests",
            in_flight()
        ));
    }
    if time::timeout(limit, connections.drain()).await.is_err() {
        log::line("Some requests did not end in time");
    }
    if !state.config.is_classic() {
        log::line(format_args!("Exiting. Active connections: {}", in_flight()));
    }
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

async fn taken(
    accepted: io::Result<(TcpStream, SocketAddr)>,
    config: &Config,
) -> Option<TcpStream> {
    match accepted {
        Ok((stream, _)) => {
            let _ = stream.set_nodelay(true);
            // A caller who reads nothing of its answer would hold the function
            // for ever; with zero it is the kernel who decides.
            let limit = u32::try_from(config.write_timeout.as_millis()).unwrap_or(0);
            let _ = set_tcp_user_timeout(&stream, limit);
            Some(stream)
        }
        Err(error) => {
            log::line(format_args!("cannot accept a connection: {error}"));
            time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn server(read_timeout: Duration) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS)
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout((!read_timeout.is_zero()).then_some(read_timeout));
    server
}

async fn serve_metrics(state: Arc<State>, stream: TcpStream) {
    let server = server(state.config.read_timeout);
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = if request.uri().path() == "/metrics" {
            answer::plain(StatusCode::OK, state.metrics.encode())
        } else {
            answer::plain(StatusCode::NOT_FOUND, "404 page not found\n")
        };
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}
