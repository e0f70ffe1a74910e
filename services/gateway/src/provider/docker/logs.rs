//! What the replicas of a function wrote, as the engine kept it.

use std::{
    collections::HashSet,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bollard::{
    Docker, container::LogOutput, errors::Error as DockerError,
    query_parameters::LogsOptionsBuilder,
};
use futures_util::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream, SelectAll},
};
use tokio::time::{self, Interval};

use super::{container, engine::Engine, presence};
use crate::{
    model::{
        FunctionId,
        logs::{Line, Query, parse_time},
    },
    provider::{Error, Lines, Result},
};

/// How often one who follows looks for replicas that are new.
const LOOK: Duration = Duration::from_secs(2);

/// One line, or why there are no more of this replica.
type Output = std::result::Result<LogOutput, DockerError>;

/// The lines of a function.
pub(super) async fn lines(engine: &Engine, id: &FunctionId, query: &Query) -> Result<Lines> {
    let mut merged = Merged {
        client: engine.client().await?,
        id: id.clone(),
        query: query.clone(),
        known: HashSet::new(),
        streams: SelectAll::new(),
    };
    if !merged.look(engine.containers(Some(id)).await?) {
        return Err(Error::NotFound);
    }
    if !query.follow {
        return Ok(stream::unfold(merged, async |mut merged| {
            let line = merged.streams.next().await?;
            Some((line, merged))
        })
        .boxed());
    }
    let following = Following {
        merged,
        engine: engine.clone(),
        gone: Box::pin(gone(engine.socket().to_owned())),
        look: time::interval(LOOK),
    };
    Ok(stream::unfold(following, async |mut following| {
        let line = following.next().await?;
        Some((line, following))
    })
    .boxed())
}

/// The engine lets those who follow end before it ends.
async fn gone(socket: PathBuf) {
    if presence::gone(&socket).await.is_err() {
        std::future::pending().await
    }
}

/// The lines of all replicas as they come.
struct Merged {
    client: Docker,
    id: FunctionId,
    query: Query,
    known: HashSet<String>,
    streams: SelectAll<BoxStream<'static, Result<Line>>>,
}

impl Merged {
    /// Takes in the replicas that are new. Says whether there is any.
    fn look(&mut self, containers: Vec<bollard::models::ContainerSummary>) -> bool {
        let first = self.known.is_empty();
        let mut any = false;
        for summary in containers {
            let names = summary.names.clone().unwrap_or_default();
            let Some(replica) = container::replica(summary) else {
                continue;
            };
            any = true;
            let name = names.first().map_or(replica.container.as_str(), |name| {
                name.trim_start_matches('/')
            });
            let wanted = self.query.instance.as_deref();
            if wanted.is_some_and(|wanted| wanted != name)
                || !self.known.insert(replica.container.clone())
            {
                continue;
            }
            let stream = self.stream(&replica.container, name, first);
            self.streams.push(stream);
        }
        any
    }

    /// The lines of one replica. Of those that start later nothing is left out.
    fn stream(&self, container: &str, name: &str, first: bool) -> BoxStream<'static, Result<Line>> {
        let tail = self.query.tail.filter(|_| first);
        let since = self.query.since.filter(|_| first);
        let seconds = since
            .and_then(|since| since.duration_since(UNIX_EPOCH).ok())
            .and_then(|since| i32::try_from(since.as_secs()).ok());
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .follow(self.query.follow)
            .since(seconds.unwrap_or_default())
            .tail(&tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()))
            .build();
        let (id, instance) = (self.id.clone(), name.to_owned());
        self.client
            .logs(container, Some(options))
            .filter_map(move |output: Output| {
                let line = match output {
                    Ok(output) => {
                        let line = line(&id, &instance, &output.into_bytes());
                        after(since, &line).then_some(Ok(line))
                    }
                    Err(error) => end(error).map(Err),
                };
                std::future::ready(line)
            })
            .boxed()
    }
}

/// What the end of a replica's lines means: nothing when the replica is gone.
fn end(error: DockerError) -> Option<Error> {
    match error {
        DockerError::DockerResponseServerError {
            status_code: 404 | 409,
            ..
        } => None,
        error => Some(Error::Failed(format!("cannot read the log: {error}"))),
    }
}

/// A line as the engine tells it: its time, a space, and the text.
fn line(id: &FunctionId, instance: &str, bytes: &[u8]) -> Line {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\r', '\n']);
    let (timestamp, text) = match text.split_once(' ') {
        Some((time, text)) if parse_time(time).is_some() => (time, text),
        // A line that is empty has nothing after its time.
        _ if parse_time(text).is_some() => (text, ""),
        _ => ("", text),
    };
    Line {
        name: id.name.clone(),
        namespace: id.namespace.clone(),
        instance: instance.to_owned(),
        timestamp: timestamp.to_owned(),
        text: text.to_owned(),
    }
}

/// Whether a line is not older than what is asked for: the engine counts whole
/// seconds.
fn after(since: Option<SystemTime>, line: &Line) -> bool {
    match (since, parse_time(&line.timestamp)) {
        (Some(since), Some(time)) => time >= since,
        _ => true,
    }
}

/// Lines that go on with replicas that start later.
struct Following {
    merged: Merged,
    engine: Engine,
    gone: BoxFuture<'static, ()>,
    look: Interval,
}

impl Following {
    async fn next(&mut self) -> Option<Result<Line>> {
        loop {
            tokio::select! {
                Some(line) = self.merged.streams.next() => return Some(line),
                () = &mut self.gone => return None,
                _ = self.look.tick() => {
                    let containers = self.engine.containers(Some(&self.merged.id)).await;
                    // The function, or the engine, is gone.
                    if !self.merged.look(containers.ok()?) {
                        return None;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_time_and_its_text() {
        let id = FunctionId::new("f", "fn");
        let read = |bytes: &[u8]| {
            let line = line(&id, "f.fn.0-1", bytes);
            assert_eq!((line.name.as_str(), line.namespace.as_str()), ("f", "fn"));
            assert_eq!(line.instance, "f.fn.0-1");
            (line.timestamp, line.text)
        };
        let time = "2026-01-01T12:00:00.123456789Z";
        let pair = |time: &str, text: &str| (time.to_owned(), text.to_owned());
        let with = |text: &str| format!("{time} {text}");
        assert_eq!(read(with("a b\n").as_bytes()), pair(time, "a b"));
        assert_eq!(read(with("  in\r\n").as_bytes()), pair(time, "  in"));
        assert_eq!(read(with("\n").as_bytes()), pair(time, ""));
        assert_eq!(read(time.as_bytes()), pair(time, ""));
        assert_eq!(read(b"no time\n"), pair("", "no time"));
        let binary = [time.as_bytes(), b" \xff\n"].concat();
        assert_eq!(read(&binary), pair(time, "\u{fffd}"));
    }

    #[test]
    fn lines_before_a_time_are_left_out() {
        let id = FunctionId::new("f", "fn");
        let line = line(&id, "i", b"2026-01-01T12:00:00.5Z x");
        let since = |text| parse_time(text);
        assert!(after(None, &line));
        assert!(after(since("2026-01-01T12:00:00.5Z"), &line));
        assert!(after(since("2026-01-01T12:00:00Z"), &line));
        assert!(!after(since("2026-01-01T12:00:00.6Z"), &line));
    }
}
