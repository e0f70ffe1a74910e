//! Passes requests on to functions, and their answers back.

mod headers;
mod limited;
mod pool;
mod socket;

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::{Bytes, Frame, Incoming, SizeHint},
    header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
    upgrade::OnUpgrade,
};
use tokio::time::{self, Instant, Sleep};
use watchdog::contract;

use self::pool::{Failure, Pool};
use crate::{
    config::Config,
    metrics::{Invocation, Metrics},
    model::FunctionId,
    provider::{Error, Provider},
    rules::Rules,
    scaling::starter::Starter,
};

/// The proxy in front of all functions.
#[derive(Debug)]
pub(crate) struct Proxy {
    pool: Pool,
    next: AtomicUsize,
    timeout: Duration,
    max_body: u64,
    max_requests: u32,
    scale_from_zero: bool,
    namespace: String,
}

/// Whether a request's path is `/function/NAME`, with a name that could be one.
fn split_path(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/function/")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!name.is_empty() && name.bytes().all(plain)).then_some((name, rest))
}

impl Proxy {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            pool: Pool::default(),
            next: AtomicUsize::new(0),
            timeout: config.upstream_timeout,
            max_body: config.max_body,
            max_requests: config.max_requests,
            scale_from_zero: config.scale_from_zero,
            namespace: config.namespace.clone(),
        }
    }

    /// Answers a request to `/function/...`; `remote` is who sent it.
    pub(crate) async fn serve<P: Provider>(
        &self,
        provider: &P,
        starter: &Starter<P>,
        metrics: &Metrics,
        mut request: Request<Body>,
        remote: SocketAddr,
    ) -> Response<Body> {
        let Some((name, rest)) = split_path(request.uri().path()) else {
            return text(StatusCode::NOT_FOUND, "404 page not found\n");
        };
        if !allowed(request.method()) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "");
        }
        let id = FunctionId::parse(name, &self.namespace);
        let Some(uri) = target(rest, request.uri().query()) else {
            return text(StatusCode::BAD_REQUEST, "the path cannot be passed on\n");
        };
        let kind = request.headers().get("content-type").cloned();
        let marks = headers::prepare(request.headers_mut(), remote);
        *request.uri_mut() = uri;

        let caller = marks.socket.then(|| hyper::upgrade::on(&mut request));
        let passed = self.pass(provider, starter, metrics, &id, request, caller);
        let mut answer = match passed.await {
            Ok(answer) => answer,
            Err(failure) => failure.into_answer(&id),
        };
        let status = answer.status();
        headers::complete(answer.headers_mut(), status, &marks, kind);
        answer
    }

    async fn pass<P: Provider>(
        &self,
        provider: &P,
        starter: &Starter<P>,
        metrics: &Metrics,
        id: &FunctionId,
        mut request: Request<Body>,
        caller: Option<OnUpgrade>,
    ) -> Result<Response<Body>, Refusal> {
        let mut route = provider.route(id).await?;
        let mut invocation = metrics.begin(id);
        let result = async {
            let annotations = Arc::clone(&route.annotations);
            let rules = Rules::of(&annotations);
            if let Some(token) = rules.token {
                admit(provider, id, token, request.headers_mut()).await?;
            }
            if self.max_requests > 0 && metrics.in_flight() > self.max_requests {
                return Err(Refusal::Busy);
            }
            let (head, body) = request.into_parts();
            let (body, exceeded) =
                limited::limit(body, self.max_body).ok_or(Refusal::Large(self.max_body))?;
            let mut request = Request::from_parts(head, body);
            if route.endpoints.is_empty() || starter.is_closing(id) {
                if !self.scale_from_zero {
                    return Err(Refusal::NoReplica);
                }
                starter.start(id).await?;
                route = provider.route(id).await?;
            }
            let deadline = Instant::now() + rules.timeout.unwrap_or(self.timeout);
            let mut fresh = false;
            loop {
                let endpoint = self.choose(&route.endpoints).ok_or(Refusal::NoReplica)?;
                let sent = self.pool.send(endpoint, request);
                let failure = match time::timeout_at(deadline, sent).await {
                    Ok(Ok(answer)) => return Ok((answer, deadline)),
                    Ok(Err(failure)) => failure,
                    Err(_) => return Err(Refusal::Late),
                };
                match failure {
                    // Nothing was sent: the replica is new, gone, or elsewhere.
                    Failure::Connect(returned) if !fresh => {
                        request = *returned;
                        fresh = true;
                        provider.distrust(id);
                        let wait = async {
                            if self.scale_from_zero {
                                starter.start(id).await?;
                            }
                            provider.route(id).await
                        };
                        route = time::timeout_at(deadline, wait)
                            .await
                            .map_err(|_| Refusal::Late)??;
                    }
                    _ if exceeded.is_so() => return Err(Refusal::Large(self.max_body)),
                    _ => return Err(Refusal::Broken),
                }
            }
        }
        .await;
        let (answer, deadline) = match result {
            Ok(answer) => answer,
            Err(refusal) => {
                invocation.answered(refusal.status().as_u16());
                return Err(refusal);
            }
        };
        invocation.answered(answer.status().as_u16());
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let caller = caller.ok_or(Refusal::Broken)?;
            return Ok(socket::join(caller, answer, invocation));
        }
        Ok(answer.map(|body| {
            Body::new(Streamed {
                body,
                limit: Box::pin(time::sleep_until(deadline)),
                _invocation: invocation,
            })
        }))
    }

    /// One endpoint after the other.
    fn choose(&self, endpoints: &[SocketAddr]) -> Option<SocketAddr> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        endpoints.get(turn.checked_rem(endpoints.len())?).copied()
    }
}

/// Lets those in who know the token of a function. The function does not see
/// it.
async fn admit<P: Provider>(
    provider: &P,
    id: &FunctionId,
    secret: &str,
    headers: &mut HeaderMap,
) -> Result<(), Refusal> {
    let given = headers.remove(AUTHORIZATION);
    let token = given.as_ref().and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    });
    match token {
        Some(token) => {
            let token = token.as_bytes();
            let right = provider.is_secret(&id.namespace, secret, token).await?;
            right.then_some(()).ok_or(Refusal::Stranger)
        }
        None => Err(Refusal::Stranger),
    }
}

fn allowed(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET
            | Method::HEAD
            | Method::POST
            | Method::PUT
            | Method::PATCH
            | Method::DELETE
            | Method::OPTIONS
    )
}

/// What the function sees of the path and the query, as they were written.
fn target(rest: &str, query: Option<&str>) -> Option<Uri> {
    let path = if rest.is_empty() { "/" } else { rest };
    let text = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    // A path of "//host" alone would be read as an address.
    Uri::builder().path_and_query(text).build().ok()
}

/// Why a function did not answer.
#[derive(Debug)]
enum Refusal {
    NoReplica,
    Late,
    Broken,
    /// The caller does not know the function's token.
    Stranger,
    /// There are as many requests as there may be.
    Busy,
    /// The body is larger than this.
    Large(u64),
    Provider(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Provider(error)
    }
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoReplica | Self::Provider(Error::Unavailable(_)) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Late | Self::Broken => StatusCode::BAD_GATEWAY,
            Self::Stranger => StatusCode::UNAUTHORIZED,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Large(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Provider(Error::NotFound) => StatusCode::NOT_FOUND,
            Self::Provider(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn into_answer(self, id: &FunctionId) -> Response<Body> {
        let message = match &self {
            Self::NoReplica => format!("No endpoints available for: {}.", id.name),
            Self::Late | Self::Broken => String::new(),
            Self::Stranger => "this function asks for its token\n".to_owned(),
            Self::Busy => "the gateway has as many requests as it may; try again\n".to_owned(),
            Self::Large(most) => {
                format!("the request is larger than the {most} bytes that one may have\n")
            }
            Self::Provider(error) => format!("error finding function {id}: {error}"),
        };
        let mut answer = text(self.status(), &message);
        let headers = answer.headers_mut();
        match self {
            Self::Provider(Error::NotFound) | Self::Large(_) => {}
            Self::Stranger => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {
                headers.insert(contract::INTERNAL_HEADER, HeaderValue::from_static("proxy"));
            }
        }
        if matches!(self, Self::Busy) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}

fn text(status: StatusCode, message: &str) -> Response<Body> {
    let mut answer = Response::new(Body::from(message.to_owned()));
    *answer.status_mut() = status;
    if !message.is_empty() {
        answer.headers_mut().insert(
            "content-type",
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
    }
    answer
}

/// The body of an answer, cut off when the function takes too long. The request
/// counts as in flight as long as this is there.
struct Streamed {
    body: Incoming,
    limit: Pin<Box<Sleep>>,
    _invocation: Invocation,
}

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new)));
        }
        self.limit.as_mut().poll(context).map(|()| {
            Some(Err(axum::Error::new(
                "the function did not end its answer in time",
            )))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_is_the_first_part_of_the_path() {
        for (path, expected) in [
            ("/function/echo", Some(("echo", ""))),
            ("/function/echo/", Some(("echo", "/"))),
            ("/function/echo.dev/a/b", Some(("echo.dev", "/a/b"))),
            ("/function/echo//a", Some(("echo", "//a"))),
            ("/function/echo/..%2f", Some(("echo", "/..%2f"))),
            ("/function/", None),
            ("/function//echo", None),
            ("/function/a%2fb", None),
            ("/function/a b", None),
            ("/functions/echo", None),
        ] {
            assert_eq!(split_path(path), expected, "{path}");
        }
    }

    #[test]
    fn path_and_query_are_passed_on_as_written() {
        for (rest, query, expected) in [
            ("", None, "/"),
            ("", Some("a=1"), "/?a=1"),
            ("/a%20b", Some("x=%26"), "/a%20b?x=%26"),
            ("//a", None, "//a"),
        ] {
            let uri = target(rest, query).unwrap();
            assert_eq!(uri.path_and_query().unwrap().as_str(), expected);
            assert!(uri.authority().is_none());
        }
    }
}
