//! Answers of the watchdog itself.

use std::time::Duration;

use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{self, HeaderName, HeaderValue},
};

use crate::{body::Body, contract};

/// An answer.
pub(crate) type Answer = Response<Body>;

/// The part of the stack that limits requests.
const MIDDLEWARE: HeaderValue = HeaderValue::from_static("faas-middleware");
/// The part that passes them on.
const OF_WATCHDOG: HeaderValue = HeaderValue::from_static("of-watchdog");

/// A status and nothing else.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// Plain text.
pub(crate) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    typed(status, Some(kind), text)
}

/// Some content of this type.
pub(crate) fn typed(
    status: StatusCode,
    kind: Option<HeaderValue>,
    content: impl Into<Bytes>,
) -> Answer {
    let mut answer = Response::new(Body::from(content.into()));
    *answer.status_mut() = status;
    if let Some(kind) = kind {
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    answer
}

/// What one request too many gets.
pub(crate) fn too_many(most: usize) -> Answer {
    let text = format!("Concurrent request limit exceeded. Max concurrent requests: {most}\n");
    by(MIDDLEWARE, plain(StatusCode::TOO_MANY_REQUESTS, text))
}

/// What a request gets whose process is later than `write_timeout` allows.
pub(crate) fn late(text: String) -> Answer {
    by(MIDDLEWARE, plain(StatusCode::GATEWAY_TIMEOUT, text))
}

/// A failure of a mode of of-watchdog that is not the function's answer.
pub(crate) fn internal(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    by(OF_WATCHDOG, plain(status, text))
}

fn by(part: HeaderValue, mut answer: Answer) -> Answer {
    let name = HeaderName::from_static(contract::INTERNAL_HEADER);
    answer.headers_mut().insert(name, part);
    answer
}

/// Says how long the function took, as Go's `%f` writes it.
pub(crate) fn set_duration(answer: &mut Answer, time: Duration) {
    if let Ok(seconds) = HeaderValue::try_from(format!("{:.6}", time.as_secs_f64())) {
        let name = HeaderName::from_static("x-duration-seconds");
        answer.headers_mut().insert(name, seconds);
    }
}
