//! What the containers of a project wrote.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::sync::mpsc;
use std::thread;

use anyhow::Result;
use rubus_compose::request;
use serde::Serialize;

use crate::cli::Logs;
use crate::engine::{Engine, Listed};
use crate::output::Output;
use crate::text::printable;

/// The largest frame of the engine that is believed.
const MAX_FRAME: u32 = 1024 * 1024;

/// A line of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Line {
    /// When it was written, as RFC 3339.
    time: String,
    service: String,
    stream: &'static str,
    text: String,
}

/// Prints what is there in the order of time, or what comes as it comes.
pub(crate) fn run(
    engine: &Engine,
    containers: &[Listed],
    options: &Logs,
    output: Output,
) -> Result<()> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    let mut print = |line: &Line| -> Result<()> {
        let text = if options.json {
            serde_json::to_string(line)?
        } else if output.is_terminal() {
            let (service, text) = (printable(&line.service), printable(&line.text));
            format!("{} {service} | {text}", printable(&line.time))
        } else {
            format!("{} {} | {}", line.time, line.service, line.text)
        };
        writeln!(stdout, "{text}")?;
        Ok(stdout.flush()?)
    };
    let (sender, lines) = mpsc::channel();
    let mut bodies = Vec::new();
    for container in containers {
        let body = engine.logs(&container.id, options.tail, options.follow)?;
        let service = container.labels.get(request::SERVICE);
        bodies.push((service.cloned().unwrap_or_default(), body));
    }
    // They end with their logs, or with the program.
    for (service, body) in bodies {
        let sender = sender.clone();
        thread::spawn(move || read(&service, BufReader::new(body), &sender));
    }
    drop(sender);
    if options.follow {
        return lines.into_iter().try_for_each(|line| print(&line));
    }
    let mut all: Vec<Line> = lines.into_iter().collect();
    all.sort();
    let tail = options.tail.map_or(all.len(), |tail| tail as usize);
    let skip = all.len().saturating_sub(tail);
    all[skip..].iter().try_for_each(print)
}

/// Takes the frames of the engine apart: a byte for the stream, three of no
/// meaning, the length in four, and text. Ends with the log, however it ends:
/// the rest of what was written is worth more than why there is no more.
fn read(service: &str, mut body: impl Read, lines: &mpsc::Sender<Line>) {
    let mut partial = [Vec::new(), Vec::new()];
    let mut head = [0; 8];
    while body.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        if length > MAX_FRAME {
            break;
        }
        let mut text = vec![0; length as usize];
        if body.read_exact(&mut text).is_err() {
            break;
        }
        let stream = usize::from(head[0] == 2);
        partial[stream].extend_from_slice(&text);
        while let Some(end) = partial[stream].iter().position(|&byte| byte == b'\n') {
            let rest = partial[stream].split_off(end + 1);
            let line = std::mem::replace(&mut partial[stream], rest);
            if lines.send(line_of(service, stream, &line)).is_err() {
                return;
            }
        }
    }
}

fn line_of(service: &str, stream: usize, line: &[u8]) -> Line {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\n', '\r']);
    let (time, text) = text.split_once(' ').unwrap_or(("", text));
    Line {
        time: time.to_owned(),
        service: service.to_owned(),
        stream: ["stdout", "stderr"][stream],
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend((text.len() as u32).to_be_bytes());
        frame.extend(text.as_bytes());
        frame
    }

    fn lines(bytes: &[u8]) -> Vec<String> {
        let (sender, lines) = mpsc::channel();
        read("web", bytes, &sender);
        drop(sender);
        let show = |it: Line| format!("{} {} {}: {}", it.time, it.service, it.stream, it.text);
        lines.into_iter().map(show).collect()
    }

    #[test]
    fn frames_become_lines_of_their_streams() {
        let bytes = [
            frame(1, "2026-01-01T00:00:00Z hel"),
            frame(2, "2026-01-01T00:00:01Z oh\n"),
            frame(1, "lo\n2026-01-01T00:00:02Z x\n"),
        ]
        .concat();
        assert_eq!(
            lines(&bytes),
            [
                "2026-01-01T00:00:01Z web stderr: oh",
                "2026-01-01T00:00:00Z web stdout: hello",
                "2026-01-01T00:00:02Z web stdout: x",
            ]
        );
    }

    #[test]
    fn a_frame_that_cannot_be_ends_the_log() {
        let mut bytes = frame(1, "t a\n");
        bytes.extend([1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, b'x']);
        assert_eq!(lines(&bytes), ["t web stdout: a"]);
        assert!(lines(&[1, 0, 0]).is_empty());
    }
}
