//! `ros logs`: what a service wrote.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use anyhow::{Result, bail};
use rubus_service::status::LogLine;

use crate::cli::Logs;
use crate::client::{Body, Client, ClientError};
use crate::output::Output;
use crate::text::printable;

/// The longest line that the runtime may send, JSON and all.
const MAX_LINE: u64 = 1024 * 1024;

/// How lines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// As the runtime sends them.
    Json,
    /// Time and text; a terminal obeys nothing of it.
    Terminal,
    /// Time and text as it is.
    Plain,
}

/// `ros logs NAME`
pub(crate) fn run(client: &Client, logs: &Logs, output: Output) -> Result<()> {
    let mut body = BufReader::new(client.logs(&logs.name, logs.tail, logs.follow)?);
    let format = if logs.json {
        Format::Json
    } else if output.is_terminal() {
        Format::Terminal
    } else {
        Format::Plain
    };
    let mut stdout = BufWriter::new(io::stdout().lock());
    while let Some(line) = next(&mut body)? {
        stdout.write_all(render(&line, format)?.as_bytes())?;
        // Nothing more has come yet: show what there is.
        if body.buffer().is_empty() {
            stdout.flush()?;
        }
    }
    stdout.flush()?;
    if logs.follow {
        bail!(
            "the log of {name} broke off because system-runtime ended; `ros logs -f {name}` \
             goes on when it runs again",
            name = logs.name
        );
    }
    Ok(())
}

/// The next line; none at the end.
fn next(body: &mut BufReader<Body>) -> Result<Option<LogLine>, ClientError> {
    let mut line = Vec::new();
    if let Err(e) = body.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
        return Err(body.get_ref().error(e));
    }
    parse(&line)
}

fn parse(line: &[u8]) -> Result<Option<LogLine>, ClientError> {
    if line.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(line)
        .map(Some)
        .map_err(|e| ClientError::Garbled(format!("a line of the log is not as it should be: {e}")))
}

fn render(line: &LogLine, format: Format) -> serde_json::Result<String> {
    let LogLine { time, text, .. } = line;
    Ok(match format {
        Format::Json => serde_json::to_string(line)? + "\n",
        Format::Terminal => format!("{} {}\n", printable(time), printable(text)),
        Format::Plain => format!("{time} {text}\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rubus_service::status::Stream;

    fn line() -> LogLine {
        LogLine {
            time: "2026-11-21T12:00:00.250Z".into(),
            stream: Stream::Stderr,
            text: "clock \u{1b}[1mstepped".into(),
        }
    }

    #[test]
    fn a_line_is_when_and_what() {
        assert_eq!(
            render(&line(), Format::Plain).unwrap(),
            "2026-11-21T12:00:00.250Z clock \u{1b}[1mstepped\n"
        );
    }

    #[test]
    fn a_terminal_obeys_no_service() {
        assert_eq!(
            render(&line(), Format::Terminal).unwrap(),
            "2026-11-21T12:00:00.250Z clock \\u{1b}[1mstepped\n"
        );
    }

    #[test]
    fn json_is_one_object_a_line_as_it_came() {
        let json = render(&line(), Format::Json).unwrap();
        assert_eq!(json.matches('\n').count(), 1);
        assert_eq!(parse(json.as_bytes()).unwrap(), Some(line()));
    }

    #[test]
    fn a_line_that_is_cut_off_or_not_json_is_an_error() {
        assert!(parse(br#"{"time":"t","stream":"stdout","te"#).is_err());
        assert!(parse(b"hello\n").is_err());
        assert_eq!(parse(b"").unwrap(), None);
    }
}
