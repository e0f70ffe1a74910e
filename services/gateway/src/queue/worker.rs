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
    callback: Option<Box<Callback>>,
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

/// Who is told of an answer.
struct Receiver {
    target: Option<Target>,
    function: String,
    call_id: String,
    start: Instant,
}

impl Receiver {
    fn callback(
        &self,
        status: StatusCode,
        headers: HeaderMap,
        content: Content,
    ) -> Option<Callback> {
        let answer = Answer {
            status,
            headers,
            content,
            function: self.function.clone(),
            call_id: self.call_id.clone(),
            seconds: self.start.elapsed().as_secs_f64(),
        };
        let target = self.target.clone()?;
        Some(Callback { target, answer })
    }

    /// What is told when there is no answer.
    fn nothing(&self, status: StatusCode) -> Option<Box<Callback>> {
        self.callback(status, HeaderMap::new(), Content::Memory(Bytes::new()))
            .map(Box::new)
    }
}

/// One attempt, and what follows from it.
async fn serve(queue: Arc<Queue>, caller: Arc<impl Caller>, ticket: Ticket) {
    match attempt(&queue, &*caller, &ticket).await {
        Ok(None) => {
            queue.answered(&ticket);
            queue.finish(ticket.seq).await;
        }
        Ok(Some(callback)) => {
            // The slot is given back only once there is room for the answer:
            // callbacks that hang do not pile up.
            let room = queue.callbacks.acquire().await;
            queue.answered(&ticket);
            hand_over(&queue, callback).await;
            drop(room);
            queue.finish(ticket.seq).await;
        }
        Err(failure) => {
            let Failure {
                end,
                policy,
                reason,
                callback,
            } = failure;
            let given_up = queue.failed(&ticket, &end, &policy, reason).await;
            if given_up && let Some(callback) = callback {
                let _room = queue.callbacks.acquire().await;
                hand_over(&queue, *callback).await;
            }
        }
    }
}

async fn hand_over(queue: &Queue, callback: Callback) {
    let Callback { target, answer } = callback;
    if let Err(reason) = target.hand_over(&answer, queue.rules).await {
        eprintln!(
            "gateway: the answer of {} to call {} does not reach {target}: {reason}",
            answer.function, answer.call_id
        );
    }
}

/// Calls a function once. What is returned is what is to be handed over.
async fn attempt(
    queue: &Arc<Queue>,
    caller: &impl Caller,
    ticket: &Ticket,
) -> std::result::Result<Option<Callback>, Failure> {
    let message = open(queue, ticket).await?;
    let receiver = Receiver {
        // It was good when the call was taken in; the rules may be others now.
        target: message
            .head
            .callback_url
            .as_deref()
            .and_then(|url| Target::parse(url, queue.rules).ok()),
        function: ticket.function.to_string(),
        call_id: message.head.call_id().to_owned(),
        start: Instant::now(),
    };
    let policy = match caller.policy(&message.head.function).await {
        Ok(policy) => policy,
        Err(error @ Error::Unavailable(_)) => return Err(Failure::new(End::Away, error)),
        // It may be between its deletion and its next deployment.
        Err(error) => {
            let callback = receiver.nothing(match error {
                Error::NotFound => StatusCode::NOT_FOUND,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            });
            return Err(Failure {
                callback,
                ..Failure::new(End::Failed, error)
            });
        }
    };
    let (parts, body) = caller.call(request(message)?).await.into_parts();
    let internal = parts.headers.contains_key(contract::INTERNAL_HEADER);
    let (status, reason) = if policy.failed(parts.status, internal) {
        (parts.status, reason(parts.status, body).await)
    } else {
        match read(queue, ticket, receiver.target.is_some(), body).await {
            Ok(content) => {
                let callback = |content| receiver.callback(parts.status, parts.headers, content);
                return Ok(content.and_then(callback));
            }
            Err(reason) => (StatusCode::BAD_GATEWAY, reason),
        }
    };
    Err(Failure {
        policy,
        callback: receiver.nothing(status),
        ..Failure::new(End::Failed, reason)
    })
}

async fn open(queue: &Arc<Queue>, ticket: &Ticket) -> std::result::Result<Message, Failure> {
    let (opened, seq) = (Arc::clone(queue), ticket.seq);
    let failures = queue.failures(seq);
    let message = blocking(move || opened.store.message(seq, failures)).await;
    message.map_err(|error| {
        let end = match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::NotFound => End::Hopeless,
            // The gateway or the disk cannot, for now.
            _ => End::Failed,
        };
        Failure::new(end, format!("its file cannot be read: {error}"))
    })
}

fn request(message: Message) -> std::result::Result<Request<Body>, Failure> {
    let Message { head, file, length } = message;
    let body = match length {
        0 => Body::empty(),
        _ => {
            let file = tokio::fs::File::from_std(file);
            Body::from_stream(ReaderStream::with_capacity(file.take(length), CHUNK))
        }
    };
    head.request(body, length)
        .map_err(|error| Failure::new(End::Hopeless, error))
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
