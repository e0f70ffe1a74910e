//! The serializing mode: a process a request, its output is the answer once it
//! has ended, its standard error goes to the log.

use std::{sync::Arc, time::Duration};

use http_body_util::BodyExt;
use hyper::{Request, StatusCode, body::Bytes, header::HeaderValue};
use tokio::time;

use crate::{
    answer::{self, Answer},
    body::Body,
    cgi,
    children::exit_error,
    duration,
    lines::{self, Stream},
    log,
    process::{End, Task, start_error},
    record::Record,
    route::State,
};

/// Answers one request by running the process once. A caller who hangs up ends
/// the process.
pub(crate) async fn serve(state: &Arc<State>, request: Request<Body>) -> Answer {
    let config = &state.config;
    let record = Record::of(&request);
    let mut answer = match run(state, request).await {
        Ok(output) => {
            let kind = config.content_type.as_deref();
            let kind = kind.and_then(|kind| HeaderValue::from_str(kind).ok());
            answer::typed(StatusCode::OK, kind, output)
        }
        Err((status, text)) => {
            log::line(&text);
            answer::plain(status, text)
        }
    };
    answer::set_duration(&mut answer, record.start().elapsed());
    let status = answer.status().as_u16();
    answer.map(|body| body.on_end(move |bytes| record.log(status, bytes)))
}

async fn run(state: &State, request: Request<Body>) -> Result<Vec<u8>, (StatusCode, String)> {
    let config = &state.config;
    let failure = |text: String| (StatusCode::INTERNAL_SERVER_ERROR, text);
    let (parts, body) = request.into_parts();
    let input: Bytes = match time::timeout(ever(config.read_timeout), body.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return Err((StatusCode::BAD_REQUEST, error.to_string())),
        Err(_) => {
            let limit = duration::format(config.read_timeout);
            let text = format!("the request body did not arrive within {limit}");
            return Err((StatusCode::BAD_REQUEST, text));
        }
    };
    let task = Task {
        command: &config.process,
        environment: cgi::variables(&parts),
        combine_output: false,
    };
    let mut process = task
        .start(&state.children)
        .map_err(|error| failure(start_error(&config.process[0], &error)))?;
    if let Some(stderr) = process.stderr.take() {
        tokio::spawn(lines::pass_on(stderr, Stream::Stderr, config.lines));
    }
    let limit = config.exchange_limit(config.exec_timeout);
    let outcome = process
        .finish(input, limit)
        .await
        .map_err(|error| failure(error.to_string()))?;
    match outcome.end {
        End::Exit(status) if status.success() => Ok(outcome.output),
        End::Exit(status) => Err(failure(exit_error(status))),
        End::TimedOut => Err(failure(format!(
            "Function was killed by ExecTimeout: {}",
            duration::format(limit.unwrap_or_default())
        ))),
    }
}

/// A limit as a time, zero being none.
fn ever(limit: Duration) -> Duration {
    if limit.is_zero() {
        Duration::MAX
    } else {
        limit
    }
}
