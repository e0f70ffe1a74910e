//! The classic mode: a process a request, its output is the answer.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::BodyExt;
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    header::{self, HeaderMap, HeaderValue},
    http::request::Parts,
};
use serde_json::json;
use tokio::time;

use crate::{
    answer::{self, Answer},
    body::Body,
    cgi,
    children::exit_error,
    config::{Classic, Config},
    duration, log,
    process::{End, Outcome, Task, start_error},
    route::State,
    sniff,
};

/// Answers one request by running the process once.
///
/// That is a task of its own: a caller who hangs up does not stop a function in
/// the middle of its work. `guard` is what the request occupies until the
/// process has ended.
pub(crate) async fn serve(
    state: &Arc<State>,
    classic: &Classic,
    request: Request<Body>,
    guard: impl Send + 'static,
) -> Answer {
    if !matches!(
        *request.method(),
        Method::GET | Method::POST | Method::PUT | Method::PATCH | Method::DELETE
    ) {
        return answer::empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    let config = &state.config;
    let start = Instant::now();
    log::line("Forking fprocess.");
    let (parts, body) = request.into_parts();
    if classic.debug_headers {
        for (name, value) in &parts.headers {
            log::line(format_args!(
                "{}: {}",
                cgi::canonical(name.as_str()),
                String::from_utf8_lossy(value.as_bytes())
            ));
        }
    }
    let work = tokio::spawn({
        let state = Arc::clone(state);
        let classic = classic.clone();
        async move {
            let answer = match read(body, state.config.read_timeout).await {
                Ok(body) => {
                    let outcome = run(&state, &classic, &parts, body).await;
                    answer(&state.config, &classic, &parts, outcome, start)
                }
                Err(text) => answer::plain(StatusCode::BAD_REQUEST, text),
            };
            drop(guard);
            answer
        }
    });
    match within(config.write_timeout, work).await {
        Some(Ok(answer)) => answer,
        Some(Err(error)) => answer::plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        None => answer::late(format!(
            "the function did not answer within {}\n",
            duration::format(config.write_timeout)
        )),
    }
}

async fn read(body: Body, limit: Duration) -> Result<Bytes, String> {
    match within(limit, body.collect()).await {
        Some(Ok(body)) => Ok(body.to_bytes()),
        Some(Err(error)) => Err(format!("{error}\n")),
        None => Err(format!(
            "the request body did not arrive within {}\n",
            duration::format(limit)
        )),
    }
}

/// Waits for `work` up to `limit`, zero being none.
async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    if limit.is_zero() {
        Some(work.await)
    } else {
        time::timeout(limit, work).await.ok()
    }
}

async fn run(
    state: &State,
    classic: &Classic,
    request: &Parts,
    body: Bytes,
) -> io::Result<Outcome> {
    let config = &state.config;
    let input = if classic.marshal_request {
        marshal(&request.headers, &body)
    } else {
        body
    };
    let task = Task {
        command: &config.process,
        environment: if classic.cgi_headers {
            cgi::variables(request)
        } else {
            Vec::new()
        },
        combine_output: classic.combine_output,
    };
    let limit = (!config.exec_timeout.is_zero()).then_some(config.exec_timeout);
    task.start(&state.children)?.finish(input, limit).await
}

fn answer(
    config: &Config,
    classic: &Classic,
    request: &Parts,
    outcome: io::Result<Outcome>,
    start: Instant,
) -> Answer {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            let text = start_error(&config.process[0], &error);
            log::line(&text);
            return answer::plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{text}\n"));
        }
    };
    if !outcome.errors.is_empty() {
        let errors = String::from_utf8_lossy(&outcome.errors);
        log::line(format_args!("stderr: {errors}"));
    }
    match outcome.end {
        End::TimedOut => {
            log::line(format_args!("Killed process: {}", config.process.join(" ")));
            answer::plain(StatusCode::REQUEST_TIMEOUT, "Killed process.\n")
        }
        End::Exit(status) if status.success() => {
            success(config, classic, request, outcome.output, start)
        }
        End::Exit(status) => {
            let text = exit_error(status);
            log::line(format_args!("Success=false, Error={text}"));
            let mut body = format!("{text}\n").into_bytes();
            body.extend_from_slice(&outcome.output);
            let kind = HeaderValue::from_static(sniff::content_type(&body));
            answer::typed(StatusCode::INTERNAL_SERVER_ERROR, Some(kind), body)
        }
    }
}

fn success(
    config: &Config,
    classic: &Classic,
    request: &Parts,
    output: Vec<u8>,
    start: Instant,
) -> Answer {
    let time = start.elapsed();
    let seconds = time.as_secs_f64();
    if classic.write_debug {
        let _ = io::stdout().write_all(&output);
        log::line(format_args!("Duration: {seconds:.6}s"));
    } else {
        let bytes = output.len();
        log::line(format_args!(
            "Wrote {bytes} Bytes - Duration: {seconds:.6}s"
        ));
    }
    let kind = config
        .content_type
        .as_deref()
        .and_then(|kind| HeaderValue::from_str(kind).ok())
        .or_else(|| request.headers.get(header::CONTENT_TYPE).cloned())
        .or_else(|| {
            (!output.is_empty()).then(|| HeaderValue::from_static(sniff::content_type(&output)))
        });
    let mut answer = answer::typed(StatusCode::OK, kind, output);
    answer::set_duration(&mut answer, time);
    answer
}

/// What the process reads in the place of the body under `marshal_request`.
fn marshal(headers: &HeaderMap, body: &Bytes) -> Bytes {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if name != header::HOST {
            values
                .entry(cgi::canonical(name.as_str()))
                .or_default()
                .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
        }
    }
    json!({ "header": values, "body": { "raw": STANDARD.encode(body) } })
        .to_string()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marshalled_request_holds_headers_and_body() {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("node"));
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("2"));
        assert_eq!(
            marshal(&headers, &Bytes::from_static(b"hello")),
            r#"{"body":{"raw":"aGVsbG8="},"header":{"X-A":["1","2"]}}"#
        );
    }
}
