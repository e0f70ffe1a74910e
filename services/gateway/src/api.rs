//! The routes.

mod alert;
mod functions;
mod logs;
mod namespaces;
mod node;
mod origin;
mod queue;
mod request;
mod secrets;
mod stats;
mod store;

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::{any, get, post},
};
use serde_json::json;

use crate::{
    auth::Credentials,
    config::Config,
    metrics::Metrics,
    namespaces::Namespaces,
    portal,
    provider::{Error, Provider},
    proxy::Proxy,
    queue::Queue,
    rate::Rate,
    scaling::{by_hand::ByHand, starter::Starter},
};

pub use self::queue::{tick, work};

/// Who sent a request; the server puts it into the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Remote(pub SocketAddr);

/// What all routes share.
pub struct Gateway<P> {
    pub(crate) provider: Arc<P>,
    pub(crate) starter: Starter<P>,
    /// Whether a request starts a function that has no replicas.
    pub(crate) starts_from_zero: bool,
    proxy: Proxy,
    pub(crate) metrics: Metrics,
    pub(crate) by_hand: ByHand,
    /// The functions that the image carries.
    functions: PathBuf,
    /// The gateway's own state.
    state: PathBuf,
    credentials: Option<Credentials>,
    rate: Option<Rate>,
    namespaces: Namespaces,
    /// Where there is none, there are no asynchronous calls.
    queue: Option<Arc<Queue>>,
}

impl<P: Provider> Gateway<P> {
    /// A gateway in front of a provider. Without credentials it is open.
    ///
    /// # Errors
    /// When the metrics cannot be set up.
    pub fn new(
        provider: Arc<P>,
        config: &Config,
        credentials: Option<Credentials>,
    ) -> Result<Self, String> {
        Ok(Self {
            starter: Starter::new(Arc::clone(&provider)),
            provider,
            proxy: Proxy::new(config),
            starts_from_zero: config.scale_from_zero,
            by_hand: ByHand::load(&config.state),
            metrics: Metrics::new().map_err(|error| error.to_string())?,
            functions: config.functions.clone(),
            state: config.state.clone(),
            credentials,
            rate: NonZeroU32::new(config.rate_limit).map(Rate::new),
            namespaces: Namespaces::load(&config.namespace, &config.state),
            queue: None,
        })
    }

    /// The same with asynchronous calls, which [`work`] makes.
    pub fn with_queue(mut self, queue: Queue) -> Self {
        self.queue = Some(Arc::new(queue));
        self
    }

    /// Answers a request to `/function/...`.
    async fn pass_on(&self, request: Request) -> Response {
        let remote = remote(&request);
        let (provider, metrics) = (&*self.provider, &self.metrics);
        self.proxy
            .serve(provider, &self.starter, metrics, request, remote)
            .await
    }
}

/// The API and the functions.
pub fn router<P: Provider>(gateway: Arc<Gateway<P>>) -> Router {
    let guard = || middleware::from_fn_with_state(Arc::clone(&gateway), authenticate::<P>);
    // Old clients name it in the body only.
    let namespace = || {
        post(namespaces::create::<P>)
            .put(namespaces::update::<P>)
            .delete(namespaces::delete::<P>)
    };
    let system = Router::new()
        .route(
            "/functions",
            get(functions::list::<P>)
                .post(functions::deploy::<P>)
                .put(functions::update::<P>)
                .delete(functions::delete::<P>),
        )
        .route("/function/{name}", get(functions::status::<P>))
        .route("/scale-function/{name}", post(functions::scale::<P>))
        .route("/alert", post(alert::receive::<P>))
        .route("/node", get(node::show::<P>))
        .route("/stats", get(stats::show::<P>))
        .route("/store", get(store::list::<P>))
        .route("/store/{name}", post(store::deploy::<P>))
        .route(
            "/secrets",
            get(secrets::list::<P>)
                .post(secrets::create::<P>)
                .put(secrets::replace::<P>)
                .delete(secrets::delete::<P>),
        )
        .route("/namespaces", get(namespaces::list::<P>))
        .route("/namespace/", namespace())
        .route("/namespace/{name}", namespace().get(namespaces::get::<P>))
        .route("/logs", get(logs::show::<P>))
        .route("/info", get(info::<P>))
        .route("/queue", get(queue::overview::<P>))
        .route(
            "/queue/dead/{id}",
            post(queue::replay::<P>).delete(queue::discard::<P>),
        )
        .fallback(not_found)
        .layer(guard())
        .layer(middleware::from_fn(origin::refuse_foreign));
    let portal = Router::new()
        .route("/ui", get(async || Redirect::temporary("/ui/")))
        .route("/ui/", get(portal::index))
        .route("/ui/{*file}", get(portal::file))
        .layer(guard());
    let router = Router::new()
        .nest("/system", system)
        .merge(portal)
        .route("/", get(async || Redirect::temporary("/ui/")))
        .route("/healthz", get(health::<P>))
        .route("/function/{*rest}", any(invoke::<P>))
        .route("/async-function/{*rest}", post(queue::accept::<P>))
        .fallback(not_found);
    // Nobody pays for a bound that is not set.
    let bounded = match gateway.rate {
        Some(_) => router.layer(middleware::from_fn_with_state(
            Arc::clone(&gateway),
            bound::<P>,
        )),
        None => router,
    };
    bounded.with_state(gateway)
}

/// The metrics, which have a port of their own.
pub fn metrics_router<P: Provider>(gateway: Arc<Gateway<P>>) -> Router {
    Router::new()
        .route("/metrics", get(metrics::<P>))
        .route("/healthz", get(async || "OK"))
        .fallback(not_found)
        .with_state(gateway)
}

async fn authenticate<P: Provider>(
    State(gateway): State<Arc<Gateway<P>>>,
    request: Request,
    next: Next,
) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    match &gateway.credentials {
        Some(credentials) if !credentials.accept(given) => (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, "Basic realm=\"Restricted\"")],
            "invalid credentials",
        )
            .into_response(),
        _ => next.run(request).await,
    }
}

/// Sends those away who ask too often. Nobody is asked for a password before:
/// guessing is bounded too.
async fn bound<P: Provider>(
    State(gateway): State<Arc<Gateway<P>>>,
    request: Request,
    next: Next,
) -> Response {
    let wait = gateway
        .rate
        .as_ref()
        .and_then(|rate| rate.count(remote(&request).ip()).err());
    match wait {
        None => next.run(request).await,
        Some(wait) => (
            StatusCode::TOO_MANY_REQUESTS,
            [(header::RETRY_AFTER, wait.as_secs().saturating_add(1))],
            "you ask too often; wait a moment\n",
        )
            .into_response(),
    }
}

fn remote(request: &Request) -> SocketAddr {
    let remote = request.extensions().get::<Remote>();
    remote.map_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)), |remote| remote.0)
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

/// How long a look at the engine may take: one that starts accepts connections
/// long before it answers, and whoever asks for our health waits.
const LOOK: Duration = Duration::from_secs(1);

/// The gateway is healthy when it answers. Whether the engine is there is told
/// besides: a gateway that waits for its engine is not helped by a restart.
async fn health<P: Provider>(State(gateway): State<Arc<Gateway<P>>>) -> Response {
    let unavailable =
        |reason: String| json!({ "status": "ok", "provider": "unavailable", "reason": reason });
    let body = match tokio::time::timeout(LOOK, gateway.provider.ready()).await {
        Ok(Ok(())) => json!({ "status": "ok", "provider": "ready" }),
        Ok(Err(error)) => unavailable(error.to_string()),
        Err(_) => unavailable(format!("no answer within {} s", LOOK.as_secs())),
    };
    json_answer(&body)
}

async fn info<P: Provider>(State(gateway): State<Arc<Gateway<P>>>) -> Response {
    let about = gateway.provider.about().await;
    let sha = option_env!("RUBUS_REVISION").unwrap_or("unknown");
    let release = if about.release.is_empty() {
        "unknown"
    } else {
        &about.release
    };
    json_answer(&json!({
        "provider": {
            "provider": about.provider,
            "orchestration": about.orchestration,
            "version": { "sha": sha, "release": release },
        },
        "version": { "sha": sha, "release": env!("CARGO_PKG_VERSION") },
        "arch": match std::env::consts::ARCH {
            "aarch64" => "arm64",
            other => other,
        },
    }))
}

async fn metrics<P: Provider>(State(gateway): State<Arc<Gateway<P>>>) -> Response {
    // Without the engine the rest is still worth reading.
    let functions = gateway.provider.list().await.unwrap_or_default();
    if let Some(queue) = &gateway.queue {
        gateway.metrics.set_queue(&queue.overview());
    }
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    (
        [(header::CONTENT_TYPE, kind)],
        gateway.metrics.encode(&functions),
    )
        .into_response()
}

async fn invoke<P: Provider>(
    State(gateway): State<Arc<Gateway<P>>>,
    request: Request<Body>,
) -> Response {
    gateway.pass_on(request).await
}

fn json_answer(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (
            [(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            )],
            body,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Exists | Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, self.to_string()).into_response()
    }
}
