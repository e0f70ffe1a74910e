//! Showing a log.

use std::{
    io::{BufRead, Write},
    path::Path,
};

use rubus_service::status::{LogLine, Stream};

use crate::{
    cli::LogOptions,
    client,
    terminal::{self, Style},
};

pub(crate) fn show(run: &Path, options: &LogOptions) -> anyhow::Result<()> {
    let mut path = format!(
        "/v1/services/{}/logs?follow={}",
        options.name, options.follow
    );
    if let Some(count) = options.tail {
        path.push_str(&format!("&tail={count}"));
    }
    let colours = terminal::colours();
    let mut out = std::io::stdout().lock();
    for line in client::stream(run, &path)?.lines() {
        let line = line?;
        if options.json {
            writeln!(out, "{line}")?;
        } else if let Ok(line) = serde_json::from_str::<LogLine>(&line) {
            writeln!(out, "{}", format_line(&line, colours))?;
        }
        if options.follow {
            out.flush()?;
        }
    }
    Ok(())
}

fn format_line(line: &LogLine, colours: bool) -> String {
    // To the millisecond: 2026-11-21T12:34:56.789
    let time = line.time.get(..23).unwrap_or(&line.time);
    let style = match line.stream {
        Stream::Stdout => Style::Plain,
        Stream::Stderr => Style::Warning,
    };
    format!(
        "{} {}",
        Style::Dim.paint(time, colours),
        style.paint(&terminal::harmless(&line.text), colours)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_its_time_and_tells_errors_by_colour() {
        let mut line = LogLine {
            time: "2026-11-21T12:34:56.789012Z".to_owned(),
            stream: Stream::Stdout,
            text: "hello".to_owned(),
        };
        assert_eq!(format_line(&line, false), "2026-11-21T12:34:56.789 hello");
        line.stream = Stream::Stderr;
        assert!(format_line(&line, true).ends_with("\x1b[33mhello\x1b[0m"));
    }
}
