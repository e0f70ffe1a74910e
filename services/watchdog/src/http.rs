//! The http mode: one process that speaks HTTP, and to which requests are passed
//! on.

mod headers;
mod pool;
mod supervisor;
mod tunnel;

use std::{fmt::Display, time::Duration};

use http_body_util::BodyExt;
use hyper::{Method, Request, StatusCode, Uri, Version, body::Incoming, http::uri};
use tokio::{
    sync::watch,
    time::{self, Instant},
};

use self::pool::{Failure, Pool};
pub(crate) use self::supervisor::Process;
use crate::{
    answer::{self, Answer},
    body::Body,
    children::Children,
    config::{Config, Http},
    duration, log,
    record::Record,
};

/// Passes requests on to the process.
pub(crate) struct Proxy {
    pool: Pool,
    listens: watch::Receiver<bool>,
}

impl Proxy {
    /// Starts the process.
    pub(crate) fn start(
        config: &Config,
        http: &Http,
        children: &Children,
    ) -> Result<(Self, Process), String> {
        let process = Process::start(config, children)?;
        let proxy = Self {
            listens: supervisor::watch(http.upstream.clone()),
            pool: Pool::new(http.upstream.clone()),
        };
        Ok((proxy, process))
    }

    /// Whether the process listens, or did once.
    pub(crate) fn listens(&self) -> bool {
        *self.listens.borrow()
    }

    /// Passes one request on. `guard` is what it occupies as long as a tunnel
    /// lasts that it opens.
    pub(crate) async fn serve(
        &self,
        config: &Config,
        http: &Http,
        mut request: Request<Body>,
        guard: impl Send + 'static,
    ) -> Answer {
        let mut record = Record::of(&request);
        if http.log_call_id {
            record = record.with_call_id(&request);
        }
        let start = Instant::from_std(record.start());
        let exec_timeout = headers::exec_timeout(request.headers(), config.exec_timeout);
        let deadline = config
            .exchange_limit(exec_timeout)
            .and_then(|limit| start.checked_add(limit));
        let read_timeout = (!config.read_timeout.is_zero()).then_some(config.read_timeout);
        let reading = read_timeout.and_then(|limit| start.checked_add(limit));

        let upgrade = headers::prepare(request.headers_mut(), &http.upstream);
        let caller = upgrade.then(|| hyper::upgrade::on(&mut request));
        let request = request.map(|body| body.until(reading));
        let work = async {
            let request = rewrite(request, http).await?;
            self.pass(request).await
        };
        let result = match deadline {
            Some(deadline) => time::timeout_at(deadline, work).await,
            None => Ok(work.await),
        };
        let mut answer = match result {
            Ok(Ok(answer)) => answer.map(|body| body.until(deadline)),
            Ok(Err(failure)) => return failed(&record, failure.status(), &failure),
            Err(_) => {
                let limit = config.exchange_limit(exec_timeout).unwrap_or_default();
                return late(&record, limit);
            }
        };
        match (answer.status(), caller) {
            (StatusCode::SWITCHING_PROTOCOLS, Some(caller)) => {
                let process = hyper::upgrade::on(&mut answer);
                let limit = (!exec_timeout.is_zero()).then_some(exec_timeout);
                tunnel::open(caller, process, limit, guard);
            }
            (StatusCode::SWITCHING_PROTOCOLS, None) => {
                let text = "the function switches to a protocol that nobody asked for";
                return failed(&record, StatusCode::INTERNAL_SERVER_ERROR, &text);
            }
            _ => headers::complete(answer.headers_mut()),
        }
        answer::set_duration(&mut answer, record.start().elapsed());
        let status = answer.status();
        answer.map(|body| body.on_end(move |bytes| record.log(status, bytes)))
    }

    /// Passes a request on once the process listens.
    async fn pass(&self, request: Request<Body>) -> Result<Answer, Failure> {
        if !self.listens() {
            // The sender is there as long as the process was not seen to listen.
            let _ = self.listens.clone().wait_for(|listens| *listens).await;
        }
        let (answer, connection) = self.pool.send(request).await?;
        Ok(answer.map(|body: Incoming| Body::from(body).on_end(move |_| drop(connection))))
    }
}

/// Makes of a request of a caller one for the process.
async fn rewrite(mut request: Request<Body>, http: &Http) -> Result<Request<Body>, Failure> {
    *request.version_mut() = Version::HTTP_11;
    let uri = request.uri();
    if !http.upstream.prefix.is_empty() || uri.authority().is_some() {
        let path = uri.path_and_query().map_or("/", uri::PathAndQuery::as_str);
        let uri = format!("{}{path}", http.upstream.prefix);
        *request.uri_mut() = Uri::builder()
            .path_and_query(uri)
            .build()
            .map_err(|error| Failure::Request(error.into()))?;
    }
    if request.method() == Method::CONNECT {
        return Err(Failure::Request("a function is no proxy".into()));
    }
    if http.buffer_body {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(Failure::Request)?;
        request = Request::from_parts(parts, Body::from(body.to_bytes()));
    }
    Ok(request)
}

/// The answer when the process gave none.
fn failed(record: &Record, status: StatusCode, error: &dyn Display) -> Answer {
    log::line(format_args!("Upstream HTTP request error: {error}"));
    internal(record, status)
}

/// The answer when the process took too long.
fn late(record: &Record, limit: Duration) -> Answer {
    let limit = duration::format(limit);
    log::line(format_args!(
        "Upstream HTTP killed due to exec_timeout: {limit}"
    ));
    internal(record, StatusCode::GATEWAY_TIMEOUT)
}

fn internal(record: &Record, status: StatusCode) -> Answer {
    let mut answer = answer::internal(status, "");
    answer::set_duration(&mut answer, record.start().elapsed());
    answer
}
