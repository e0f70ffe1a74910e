//! Calls what waits, and passes the answers on.

use std::{io, pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::{HeaderMap, Request, Response, StatusCode, body::Bytes};
use tokio::{
    io::AsyncReadExt,
    task::JoinSet,
    time::{self, Instant},
};
use tokio_util::io::ReaderStream;
use watchdog::contract;

use super::{
    Queue, blocking,
    callback::{Answer, Content, Target},
    flushed,
    message::Message,
    policy::Policy,
    schedule::{End, Next, Ticket},
    store::{CHUNK, Draft},
};
use crate::provider::{Error, Result};

/// How long calls may take to end when the gateway stops. What is cut off is
/// called again after the start.
const DRAIN: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Most bytes of an answer that is read for its reason.
const REASON_MOST: usize = 2048;

/// What calls functions.
pub(crate) trait Caller: Send + Sync + 'static {
    /// How a function wants failed calls to be tried again.
    fn policy(&self, function: &str) -> impl Future<Output = Result<Policy>> + Send;

    /// Answers a request to `/function/...`.
    fn call(&self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send;
}

/// Calls what waits until `stop` is done.
pub(crate) async fn run(queue: Arc<Queue>, caller: Arc<impl Caller>, stop: impl Future) {
    let mut calls = JoinSet::new();
    let mut stop = pin!(stop);
    let mut hour = time::interval_at(Instant::now() + HOUR, HOUR);
    // What lies there from the last run may be too old or too much by now.
    queue.prune().await;
    loop {
        let due = loop {
            match queue.next() {
                Next::Call(ticket) => {
                    calls.spawn(serve(Arc::clone(&queue), Arc::clone(&caller), ticket));
                }
                Next::At(moment) => break Some(moment.saturating_sub(queue.moment())),
                Next::Idle => break None,
            }
        };
        tokio::select! {
            _ = &mut stop => break,
            () = queue.changed.notified() => {}
            () = time::sleep(due.unwrap_or_default()), if due.is_some() => {}
            _ = calls.join_next(), if !calls.is_empty() => {}
            _ = hour.tick() => queue.hour_passed().await,
        }
    }
    let ended = async { while calls.join_next().await.is_some() {} };
    let _ = time::timeout(DRAIN, ended).await;
}

/// What came of one attempt.
enum Outcome {
    Answered(Option<Callback>),
    Failed(Failure),
}

/// An answer and where it is to go.
struct Callback {
    target: Target,
    answer: Answer,
}

/// An attempt without a result.
struct Failure {
    end: End,
    policy: Policy,
    reason: String,
    /// Whom to tell when it was the last one.
    callback: Option<Callback>,
}

impl Failure {
    fn new(end: End, reason: impl ToString) -> Self {
        Self {
            end,
            policy: Policy::default(),
            reason: reason.to_string(),
            callback: None,
        }
    }
}

/// One attempt, and what follows from it.
async fn serve(queue: Arc<Queue>, caller: Arc<impl Caller>, ticket: Ticket) {
    match attempt(&queue, &*caller, &ticket).await {
        Outcome::Answered(None) => {
            queue.answered(&ticket);
            queue.finish(ticket.seq).await;
        }
        Outcome::Answered(Some(callback)) => {
            // The slot is given back only once there is room for the answer:
            // callbacks that hang do not pile up.
            let room = queue.callbacks.acquire().await;
            queue.answered(&ticket);
            hand_over(&queue, &ticket, callback).await;
            drop(room);
            queue.finish(ticket.seq).await;
        }
        Outcome::Failed(failure) => {
            let Failure {
                end,
                policy,
                reason,
                callback,
            } = failure;
            let given_up = queue.failed(&ticket, &end, &policy, reason).await;
            if given_up && let Some(callback) = callback {
                let _room = queue.callbacks.acquire().await;
                hand_over(&queue, &ticket, callback).await;
            }
        }
    }
}

async fn hand_over(queue: &Queue, ticket: &Ticket, callback: Callback) {
    let Callback { target, answer } = callback;
    if let Err(reason) = target.hand_over(&answer, queue.rules).await {
        eprintln!(
            "gateway: the answer of {} to call {} does not reach {target}: {reason}",
            ticket.function, answer.call_id
        );
    }
}

async fn attempt(queue: &Arc<Queue>, caller: &impl Caller, ticket: &Ticket) -> Outcome {
    let message = {
        let (queue, seq) = (Arc::clone(queue), ticket.seq);
        let failures = queue.failures(seq);
        blocking(move || queue.store.message(seq, failures)).await
    };
    let Message { head, file, length } = match message {
        Ok(message) => message,
        Err(error) => {
            let end = match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::NotFound => End::Hopeless,
                // The gateway or the disk cannot, for now.
                _ => End::Failed,
            };
            let reason = format!("its file cannot be read: {error}");
            return Outcome::Failed(Failure::new(end, reason));
        }
    };
    let body = match length {
        0 => Body::empty(),
        _ => {
            let file = tokio::fs::File::from_std(file);
            Body::from_stream(ReaderStream::with_capacity(file.take(length), CHUNK))
        }
    };
    let request = match head.request(body, length) {
        Ok(request) => request,
        Err(error) => return Outcome::Failed(Failure::new(End::Hopeless, error)),
    };
    let target = head.callback_url.as_deref();
    // It was good when the call was taken in; the rules may be others by now.
    let target = target.and_then(|url| Target::parse(url, queue.rules).ok());
    let start = Instant::now();
    let callback = |status: StatusCode, headers, content| {
        target.clone().map(|target| Callback {
            target,
            answer: Answer {
                status,
                headers,
                content,
                function: ticket.function.to_string(),
                call_id: head.call_id().to_owned(),
                seconds: start.elapsed().as_secs_f64(),
            },
        })
    };
    let none = || Content::Memory(Bytes::new());

    let policy = match caller.policy(&head.function).await {
        Ok(policy) => policy,
        Err(error @ Error::Unavailable(_)) => {
            return Outcome::Failed(Failure::new(End::Away, error));
        }
        // It may be between its deletion and its next deployment.
        Err(error) => {
            let status = match error {
                Error::NotFound => StatusCode::NOT_FOUND,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            return Outcome::Failed(Failure {
                callback: callback(status, HeaderMap::new(), none()),
                ..Failure::new(End::Failed, error)
            });
        }
    };
    let (parts, body) = caller.call(request).await.into_parts();
    let internal = parts.headers.contains_key(contract::INTERNAL_HEADER);
    let failure = if policy.failed(parts.status, internal) {
        reason(parts.status, body).await
    } else {
        match read(queue, ticket, target.is_some(), body).await {
            Ok(content) => {
                return Outcome::Answered(
                    content.and_then(|content| callback(parts.status, parts.headers, content)),
                );
            }
            Err(reason) => reason,
        }
    };
    Outcome::Failed(Failure {
        policy,
        callback: callback(
            match parts.status.is_success() {
                true => StatusCode::BAD_GATEWAY,
                false => parts.status,
            },
            HeaderMap::new(),
            none(),
        ),
        ..Failure::new(End::Failed, failure)
    })
}

/// Reads an answer to its end, and keeps it where somebody wants it.
async fn read(
    queue: &Arc<Queue>,
    ticket: &Ticket,
    wanted: bool,
    mut body: Body,
) -> std::result::Result<Option<Content>, String> {
    let mut kept = wanted.then(|| Draft::new(&queue.store, &format!("{:016x}.answer", ticket.seq)));
    let lost = |reason: String| {
        let function = &ticket.function;
        eprintln!("gateway: an answer of {function} is not handed over: {reason}");
    };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the answer broke off: {error}"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if let Some(draft) = kept.take() {
            kept = keep(draft, &data, queue.limits.body)
                .await
                .map_err(lost)
                .ok();
        }
    }
    let Some(draft) = kept else {
        return Ok(None);
    };
    if let Some(bytes) = draft.in_memory() {
        return Ok(Some(Content::Memory(Bytes::copy_from_slice(bytes))));
    }
    let written = flushed(draft).await.map_err(|error| error.to_string());
    Ok(written.map_err(lost).ok().map(Content::File))
}

async fn keep(mut draft: Draft, data: &[u8], limit: u64) -> std::result::Result<Draft, String> {
    if draft.length() + data.len() as u64 > limit {
        return Err(format!("it is longer than {limit} bytes"));
    }
    match draft.push(data) {
        true => flushed(draft).await.map_err(|error| error.to_string()),
        false => Ok(draft),
    }
}

/// What a failed answer says of itself.
async fn reason(status: StatusCode, mut body: Body) -> String {
    let mut text = Vec::new();
    while text.len() < REASON_MOST
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Ok(data) = frame.into_data() {
            text.extend_from_slice(&data);
        }
    }
    let text = String::from_utf8_lossy(&text);
    match text.trim() {
        "" => format!("the function did not answer ({status})"),
        text => format!("{text} ({status})"),
    }
}
