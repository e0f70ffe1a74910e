//! Which request goes where, and what is counted of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Instant,
};

use hyper::{Method, Request, StatusCode, Uri, body::Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    answer::{self, Answer},
    body::Body,
    children::Children,
    classic,
    config::{Config, Mode},
    contract, files,
    health::Health,
    http,
    metrics::{self, Metrics},
    serializing, streaming,
};

/// What a request that nobody waited for is counted as.
const CALLER_LEFT: u16 = 499;

/// A watchdog at work.
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) children: Children,
    /// The process, where one serves all requests.
    pub(crate) proxy: Option<http::Proxy>,
    slots: Option<Arc<Semaphore>>,
}

impl State {
    pub(crate) fn new(
        config: Config,
        health: Health,
        children: Children,
        proxy: Option<http::Proxy>,
    ) -> Self {
        Self {
            slots: (config.max_inflight > 0).then(|| Arc::new(Semaphore::new(config.max_inflight))),
            metrics: Metrics::default(),
            config,
            health,
            children,
            proxy,
        }
    }
}

/// A request that is being worked on: it counts as in flight, and against the
/// limit, until the last of those who hold this has dropped it.
pub(crate) struct Exchange {
    state: Arc<State>,
    method: &'static str,
    start: Instant,
    status: AtomicU16,
    slot: Option<OwnedSemaphorePermit>,
}

impl Exchange {
    fn begin(state: &Arc<State>, method: &Method) -> Self {
        state.metrics.begin();
        Self {
            state: Arc::clone(state),
            method: metrics::label(method),
            start: Instant::now(),
            status: AtomicU16::new(CALLER_LEFT),
            slot: None,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.state.metrics.end(
            self.status.load(Ordering::Relaxed),
            self.method,
            self.start.elapsed().as_secs_f64(),
        );
    }
}

/// Answers a request.
pub(crate) async fn serve(state: &Arc<State>, request: Request<Incoming>) -> Answer {
    let request = request.map(Body::from);
    match request.uri().path() {
        contract::HEALTH_PATH => health(state, request.method()),
        contract::READY_PATH => ready(state, request).await,
        _ => {
            let mut exchange = Exchange::begin(state, request.method());
            let slot = match &state.slots {
                None => None,
                Some(slots) => match Arc::clone(slots).try_acquire_owned() {
                    Ok(slot) => Some(slot),
                    Err(_) => {
                        let answer = answer::too_many(state.config.max_inflight);
                        return counted(answer, Arc::new(exchange));
                    }
                },
            };
            exchange.slot = slot;
            let exchange = Arc::new(exchange);
            let guard = Some(Arc::clone(&exchange));
            counted(function(state, request, guard).await, exchange)
        }
    }
}

/// Lets a request count as in flight until its answer was passed on.
fn counted(answer: Answer, exchange: Arc<Exchange>) -> Answer {
    let status = answer.status().as_u16();
    exchange.status.store(status, Ordering::Relaxed);
    answer.map(|body| body.on_end(move |_| drop(exchange)))
}

/// Lets the function answer; `guard` is kept for as long as it works.
async fn function(
    state: &Arc<State>,
    request: Request<Body>,
    guard: Option<Arc<Exchange>>,
) -> Answer {
    match &state.config.mode {
        Mode::Classic(classic) => classic::serve(state, classic, request, guard).await,
        Mode::Http(http) => match &state.proxy {
            Some(proxy) => proxy.serve(&state.config, http, request, guard).await,
            None => answer::empty(StatusCode::SERVICE_UNAVAILABLE),
        },
        Mode::Streaming => streaming::serve(state, request).await,
        Mode::Serializing => serializing::serve(state, request).await,
        Mode::Static(root) => files::serve(root, &request),
    }
}

fn health(state: &State, method: &Method) -> Answer {
    if method != Method::GET {
        answer::empty(StatusCode::METHOD_NOT_ALLOWED)
    } else if state.health.is_healthy() {
        answer::plain(StatusCode::OK, "OK")
    } else {
        answer::empty(StatusCode::SERVICE_UNAVAILABLE)
    }
}

/// Whether the function would take a request: what it says itself, if there is a
/// path for that.
async fn ready(state: &Arc<State>, mut request: Request<Body>) -> Answer {
    if request.method() != Method::GET {
        return answer::empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    let listens = state.proxy.as_ref().is_none_or(http::Proxy::listens);
    if !state.health.is_healthy() || !listens {
        return answer::empty(StatusCode::SERVICE_UNAVAILABLE);
    }
    if let Some(slots) = &state.slots
        && slots.available_permits() == 0
    {
        return answer::empty(StatusCode::TOO_MANY_REQUESTS);
    }
    let Some(path) = &state.config.ready_path else {
        return answer::empty(StatusCode::OK);
    };
    let Ok(uri) = path.parse::<Uri>() else {
        return answer::internal(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("\"ready_path\" is no path: {path}\n"),
        );
    };
    *request.uri_mut() = uri;
    // It is not one of the requests that are counted and limited.
    function(state, request, None).await
}
