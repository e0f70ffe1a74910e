//! `/system/logs`.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, TryStreamExt};
use serde::Deserialize;

use super::Gateway;
use crate::{
    model::logs::{self, parse_time},
    provider::{Error, Provider, Result},
};

/// Which lines are asked for, as it is written in the query.
#[derive(Debug, Deserialize)]
pub(super) struct LogQuery {
    #[serde(default)]
    name: String,
    namespace: Option<String>,
    instance: Option<String>,
    since: Option<String>,
    tail: Option<String>,
    follow: Option<String>,
}

/// One JSON object a line. Lines that are followed go on until the caller goes:
/// upstream ends them after a minute, and clients have to ask again.
pub(super) async fn show<P: Provider>(
    State(gateway): State<Arc<Gateway<P>>>,
    Query(query): Query<LogQuery>,
) -> Result<Response> {
    let wanted = match query.read() {
        Ok(wanted) => wanted,
        Err(reason) => return Ok((StatusCode::UNPROCESSABLE_ENTITY, reason).into_response()),
    };
    if query.name.is_empty() {
        return Err(Error::Invalid("name: no function is named".to_owned()));
    }
    let id = gateway.id(&query.name, &[&query.namespace]);
    let lines = gateway.provider.logs(&id, &wanted).await?;
    let lines = lines.map(|line| line.and_then(|line| json_line(&line)));
    let lines = lines.inspect_err(move |error| eprintln!("gateway: logs of {id}: {error}"));
    Ok((
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response())
}

fn json_line(line: &logs::Line) -> Result<Bytes> {
    let mut text = serde_json::to_vec(line).map_err(|error| Error::Failed(error.to_string()))?;
    text.push(b'\n');
    Ok(text.into())
}

impl LogQuery {
    fn read(&self) -> std::result::Result<logs::Query, String> {
        let given = |text: &'_ Option<String>| text.clone().filter(|text| !text.is_empty());
        let since = given(&self.since)
            .map(|text| {
                parse_time(&text).ok_or_else(|| {
                    format!("since: \"{text}\" is not a time; write it as 2026-01-31T12:00:00Z")
                })
            })
            .transpose()?;
        let tail = given(&self.tail)
            .map(|text| {
                text.parse::<i64>()
                    .map_err(|_| format!("tail: \"{text}\" is not a number of lines"))
            })
            .transpose()?
            // Zero and less mean all.
            .and_then(|lines| usize::try_from(lines).ok())
            .filter(|lines| *lines > 0);
        Ok(logs::Query {
            instance: given(&self.instance),
            since,
            tail,
            follow: matches!(self.follow.as_deref(), Some("1" | "true")),
        })
    }
}
