//! The line that the modes of of-watchdog log for a request.

use std::time::Instant;

use hyper::{Method, Request, Uri, header, header::HeaderValue};

use crate::{body::Body, log};

/// What is remembered of a request for its line in the log.
pub(crate) struct Record {
    method: Method,
    uri: Uri,
    call_id: Option<HeaderValue>,
    /// Probes of a kubelet would fill the log.
    quiet: bool,
    start: Instant,
}

impl Record {
    /// A request that begins now.
    pub(crate) fn of(request: &Request<Body>) -> Self {
        let agent = request.headers().get(header::USER_AGENT);
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            call_id: None,
            quiet: agent.is_some_and(|agent| agent.as_bytes().starts_with(b"kube-probe")),
            start: Instant::now(),
        }
    }

    /// The same with the call id at the end of the line.
    pub(crate) fn with_call_id(mut self, request: &Request<Body>) -> Self {
        let call_id = request.headers().get("x-call-id").cloned();
        self.call_id = Some(call_id.unwrap_or(HeaderValue::from_static("none")));
        self
    }

    /// When the request began.
    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// Writes the line.
    pub(crate) fn log(&self, status: impl std::fmt::Display, bytes: u64) {
        if self.quiet {
            return;
        }
        let (method, uri) = (&self.method, &self.uri);
        let call_id = self.call_id.as_ref().map(|id| id.to_str().unwrap_or("?"));
        log::exchange(
            format_args!("{method} {uri}"),
            status,
            bytes,
            self.start.elapsed(),
            call_id,
        );
    }
}
