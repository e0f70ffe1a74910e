//! The classic mode: a process a request, its output is the answer.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderMap, HeaderValue},
    http::request::Parts,
};
use serde_json::json;
use tokio::time;

use crate::{
    cgi,
    config::Config,
    contract, duration, log,
    process::{End, Outcome, Task},
    sniff,
};

type Answer = Response<Full<Bytes>>;

/// Answers one request by running the process once.
///
/// The process is a task of its own: a caller who hangs up does not stop a
/// function in the middle of its work. `guard` is what the request occupies
/// until the process has ended.
pub(crate) async fn serve(
    config: &Arc<Config>,
    request: Request<Incoming>,
    guard: impl Send + 'static,
) -> Answer {
    let start = Instant::now();
    log::line("Forking fprocess.");
    let (parts, body) = request.into_parts();
    if config.debug_headers {
        for (name, value) in &parts.headers {
            log::line(&format!(
                "{}: {}",
                cgi::canonical(name.as_str()),
                String::from_utf8_lossy(value.as_bytes())
            ));
        }
    }
    let body = match within(config.read_timeout, body.collect()).await {
        Some(Ok(body)) => body.to_bytes(),
        Some(Err(error)) => return failure(StatusCode::BAD_REQUEST, &format!("{error}\n")),
        None => {
            return failure(
                StatusCode::BAD_REQUEST,
                &format!(
                    "the request body did not arrive within {}\n",
                    duration::format(config.read_timeout)
                ),
            );
        }
    };
    let task = Task {
        command: config.process.clone(),
        environment: if config.cgi_headers {
            cgi::variables(&parts)
        } else {
            Vec::new()
        },
        input: if config.marshal_request {
            marshal(&parts.headers, &body)
        } else {
            body
        },
        combine_output: config.combine_output,
        limit: (!config.exec_timeout.is_zero()).then_some(config.exec_timeout),
    };
    let settings = Arc::clone(config);
    let work = tokio::spawn(async move {
        let answer = answer(&settings, &parts, task.run().await, start);
        drop(guard);
        answer
    });
    match within(config.write_timeout, work).await {
        Some(Ok(answer)) => answer,
        Some(Err(error)) => failure(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        None => failure(
            StatusCode::GATEWAY_TIMEOUT,
            &format!(
                "the function did not answer within {}\n",
                duration::format(config.write_timeout)
            ),
        ),
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

fn answer(
    config: &Config,
    request: &Parts,
    outcome: io::Result<Outcome>,
    start: Instant,
) -> Answer {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            let text = spawn_error(&config.process[0], &error);
            log::line(&text);
            return failure(StatusCode::INTERNAL_SERVER_ERROR, &format!("{text}\n"));
        }
    };
    if !outcome.errors.is_empty() {
        log::line(&format!(
            "stderr: {}",
            String::from_utf8_lossy(&outcome.errors)
        ));
    }
    match outcome.end {
        End::TimedOut => {
            log::line(&format!("Killed process: {}", config.process.join(" ")));
            failure(StatusCode::REQUEST_TIMEOUT, "Killed process.\n")
        }
        End::Exit(status) if status.success() => success(config, request, outcome.output, start),
        End::Exit(status) => {
            let text = exit_error(status);
            log::line(&format!("Success=false, Error={text}"));
            let mut body = format!("{text}\n").into_bytes();
            body.extend_from_slice(&outcome.output);
            let kind = HeaderValue::from_static(sniff::content_type(&body));
            respond(StatusCode::INTERNAL_SERVER_ERROR, Some(kind), body)
        }
    }
}

fn success(config: &Config, request: &Parts, output: Vec<u8>, start: Instant) -> Answer {
    let seconds = format!("{:.6}", start.elapsed().as_secs_f64());
    if config.write_debug {
        let _ = io::stdout().write_all(&output);
        log::line(&format!("Duration: {seconds}s"));
    } else {
        log::line(&format!(
            "Wrote {} Bytes - Duration: {seconds}s",
            output.len()
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
    let mut answer = respond(StatusCode::OK, kind, output);
    if let Ok(seconds) = HeaderValue::from_str(&seconds) {
        answer.headers_mut().insert("x-duration-seconds", seconds);
    }
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

/// How Go words a process that could not be started.
fn spawn_error(program: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound && !program.contains('/') {
        format!("exec: \"{program}\": executable file not found in $PATH")
    } else {
        format!("fork/exec {program}: {error}")
    }
}

/// How Go words the end of a process that did not exit with 0.
fn exit_error(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(9)) => "signal: killed".to_owned(),
        (None, Some(15)) => "signal: terminated".to_owned(),
        (None, signal) => format!("signal: {}", signal.unwrap_or_default()),
    }
}

/// An answer of the watchdog itself, in plain text.
pub(crate) fn failure(status: StatusCode, text: &str) -> Answer {
    let mut answer = plain(status, text);
    if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::GATEWAY_TIMEOUT {
        answer.headers_mut().insert(
            contract::INTERNAL_HEADER,
            HeaderValue::from_static("faas-middleware"),
        );
    }
    answer
}

/// Plain text.
pub(crate) fn plain(status: StatusCode, text: &str) -> Answer {
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    respond(status, Some(kind), text.as_bytes().to_vec())
}

fn respond(status: StatusCode, kind: Option<HeaderValue>, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    if let Some(kind) = kind {
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    answer
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

    #[test]
    fn errors_are_worded_as_go_does() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(
            spawn_error("nope", &missing),
            "exec: \"nope\": executable file not found in $PATH"
        );
        assert!(spawn_error("/bin/nope", &missing).starts_with("fork/exec /bin/nope: "));
        assert_eq!(exit_error(ExitStatus::from_raw(1 << 8)), "exit status 1");
        assert_eq!(exit_error(ExitStatus::from_raw(9)), "signal: killed");
    }
}
