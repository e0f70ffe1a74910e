//! `/async-function` and `/system/queue`.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{Gateway, json_answer, not_found, remote};
use crate::{
    cron,
    model::{FunctionId, FunctionStatus},
    provider::{Error, Provider, Result},
    proxy,
    queue::{self, Caller, DeadError, Head, Policy, Queue, Refusal},
};

type Shared<P> = State<Arc<Gateway<P>>>;

/// Where a caller wants the answer.
const CALLBACK: &str = "x-callback-url";
const CALL_ID: &str = "x-call-id";
const START_TIME: &str = "x-start-time";

/// Calls what waits in the queue of a gateway until `stop` is done.
pub async fn work<P: Provider>(gateway: Arc<Gateway<P>>, stop: impl Future) {
    if let Some(queue) = gateway.queue.clone() {
        queue::run(queue, gateway, stop).await;
    }
}

impl<P: Provider> Gateway<P> {
    /// Asynchronous calls of a function that are not answered yet.
    pub(crate) fn queued(&self, id: &FunctionId) -> usize {
        let queue = self.queue.as_ref();
        queue.map_or(0, |queue| queue.load_of(&id.to_string()))
    }
}

impl<P: Provider> Caller for Gateway<P> {
    async fn policy(&self, function: &str) -> Result<Policy> {
        let id = FunctionId::parse(function, self.namespaces.default());
        let route = self.provider.route(&id).await?;
        // Labels are known of while the engine is there.
        let status = self.provider.status(&id).await;
        let labels = status.ok().and_then(|status| status.labels);
        Ok(Policy::of(&route.annotations, labels.as_ref()))
    }

    async fn call(&self, request: Request) -> Response {
        // Who asked is in the headers already.
        self.pass_on(request).await
    }
}

/// Calls functions by the clock until `stop` is done.
pub async fn tick<P: Provider>(gateway: Arc<Gateway<P>>, stop: impl Future) {
    cron::run(gateway, stop).await;
}

impl<P: Provider> cron::Functions for Gateway<P> {
    async fn list(&self) -> Result<Vec<FunctionStatus>> {
        self.provider.list().await
    }
}

/// Takes a call in; it was stored when the answer is 202.
pub(super) async fn accept<P: Provider>(State(gateway): Shared<P>, request: Request) -> Response {
    let Some(queue) = &gateway.queue else {
        return not_found().await;
    };
    let remote = remote(&request);
    let (mut parts, body) = request.into_parts();
    let Some((name, rest)) = proxy::split_path(parts.uri.path(), "/async-function/") else {
        return not_found().await;
    };
    let callback = match callback(queue, &parts.headers) {
        Ok(callback) => callback,
        Err(reason) => return (StatusCode::BAD_REQUEST, reason).into_response(),
    };
    let limit = queue.body_limit();
    if announced(&parts.headers).is_some_and(|length| length > limit) {
        return Refusal::TooLarge(limit).into_response();
    }
    let id = FunctionId::parse(name, gateway.namespaces.default());
    match gateway.provider.route(&id).await {
        Ok(route) => {
            let provider = &*gateway.provider;
            let away = proxy::turn_away(provider, &id, &route, &parts.headers);
            if let Some(answer) = away.await {
                return answer;
            }
        }
        // While the engine is away, nobody knows which functions there are. The
        // token is asked for again when the function is called.
        Err(Error::Unavailable(_)) => {}
        Err(error) => return error.into_response(),
    }

    let host = parts.headers.get(header::HOST).cloned();
    if parts.headers.get(CALL_ID).is_some_and(|id| id.is_empty()) {
        parts.headers.remove(CALL_ID);
    }
    proxy::prepare(&mut parts.headers, remote);
    let marks = [CALL_ID, START_TIME].map(|name| (name, parts.headers.get(name).cloned()));
    if let Some(host) = host {
        parts.headers.insert(header::HOST, host);
    }
    let head = Head::new(id.to_string(), &parts.uri, rest, &parts.headers, callback);
    if let Err(refusal) = queue.accept(head, body).await {
        return refusal.into_response();
    }
    let mut answer = StatusCode::ACCEPTED.into_response();
    for (name, value) in marks {
        if let Some(value) = value {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

fn callback(queue: &Queue, headers: &HeaderMap) -> std::result::Result<Option<String>, String> {
    let Some(value) = headers.get(CALLBACK) else {
        return Ok(None);
    };
    let url = value
        .to_str()
        .map_err(|_| "X-Callback-Url: an address is written in ASCII".to_owned())?;
    queue.check_callback(url)?;
    Ok(Some(url.to_owned()))
}

/// How long a body says that it is.
fn announced(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Full(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Incomplete(_) => StatusCode::BAD_REQUEST,
            Self::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, self.to_string()).into_response()
    }
}

/// What waits, what is being called, and what was given up.
pub(super) async fn overview<P: Provider>(State(gateway): Shared<P>) -> Response {
    match &gateway.queue {
        Some(queue) => json_answer(&queue.overview()),
        None => not_found().await,
    }
}

/// Lets a dead letter be called again.
pub(super) async fn replay<P: Provider>(
    State(gateway): Shared<P>,
    Path(id): Path<String>,
) -> Response {
    match &gateway.queue {
        Some(queue) => done(queue.replay(&id).await),
        None => not_found().await,
    }
}

/// Removes a dead letter.
pub(super) async fn discard<P: Provider>(
    State(gateway): Shared<P>,
    Path(id): Path<String>,
) -> Response {
    match &gateway.queue {
        Some(queue) => done(queue.discard(&id).await),
        None => not_found().await,
    }
}

fn done(result: std::result::Result<(), DeadError>) -> Response {
    match result {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(error) => error.into_response(),
    }
}

impl IntoResponse for DeadError {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound => {
                (StatusCode::NOT_FOUND, "there is no such dead letter").into_response()
            }
            Self::Damaged => (
                StatusCode::CONFLICT,
                "the file of this call is damaged: it can only be removed",
            )
                .into_response(),
            Self::Failed(error) => {
                (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
            }
        }
    }
}
