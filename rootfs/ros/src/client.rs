//! Asking the runtime: HTTP on its unix socket.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use anyhow::{Context, bail};
use serde::{Deserialize, de::DeserializeOwned};

/// The longest line of the head of an answer.
const LONGEST_LINE: u64 = 8 * 1024;

/// Asks and reads the answer from JSON.
pub(crate) fn get<T: DeserializeOwned>(run: &Path, path: &str) -> anyhow::Result<T> {
    read_json(ask(run, "GET", path, "")?)
}

/// Asks for something to be done.
pub(crate) fn post<T: DeserializeOwned>(run: &Path, path: &str, body: &str) -> anyhow::Result<T> {
    read_json(ask(run, "POST", path, body)?)
}

/// Asks for lines that come as they come.
pub(crate) fn stream(run: &Path, path: &str) -> anyhow::Result<impl BufRead + use<>> {
    ask(run, "GET", path, "")
}

fn ask(run: &Path, method: &str, path: &str, body: &str) -> anyhow::Result<BufReader<UnixStream>> {
    let socket = run.join("runtime.sock");
    let mut stream = UnixStream::connect(&socket).with_context(|| {
        format!(
            "cannot reach the system runtime at {}; is this a Rubus node",
            socket.display()
        )
    })?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut reader = BufReader::new(stream);
    let status = read_head(&mut reader)?;
    if !(200..300).contains(&status) {
        let mut text = String::new();
        reader.take(LONGEST_LINE).read_to_string(&mut text)?;
        bail!("{}", explain(status, &text));
    }
    Ok(reader)
}

/// Reads up to the body; returns the status.
fn read_head(reader: &mut impl BufRead) -> anyhow::Result<u16> {
    let mut status = None;
    loop {
        let mut line = String::new();
        let count = reader.by_ref().take(LONGEST_LINE).read_line(&mut line)?;
        if count == 0 {
            bail!("the system runtime closed the connection; try again");
        }
        if status.is_none() {
            let word = line.split_ascii_whitespace().nth(1);
            status = word.and_then(|it| it.parse().ok());
        }
        if line.trim_end().is_empty() {
            return status.context("the system runtime does not answer in HTTP");
        }
    }
}

/// What the runtime says went wrong.
fn explain(status: u16, body: &str) -> String {
    #[derive(Deserialize)]
    struct Failure {
        error: String,
    }
    serde_json::from_str::<Failure>(body).map_or_else(
        |_| format!("the system runtime answered with status {status}"),
        |it| it.error,
    )
}

fn read_json<T: DeserializeOwned>(reader: impl Read) -> anyhow::Result<T> {
    serde_json::from_reader(reader).context("cannot read the answer of the system runtime")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_ends_where_the_body_begins() {
        let mut input = &b"HTTP/1.1 202 Accepted\r\nA: b\r\n\r\n{}"[..];
        assert_eq!(read_head(&mut input).unwrap(), 202);
        assert_eq!(input, b"{}");
        assert!(read_head(&mut &b"HTTP/1.1 200 OK\r\n"[..]).is_err());
        assert!(read_head(&mut &b"\r\n"[..]).is_err());
    }

    #[test]
    fn the_runtime_explains_itself() {
        assert_eq!(
            explain(404, "{\"error\":\"there is no service x\"}"),
            "there is no service x"
        );
        assert_eq!(
            explain(500, "oops"),
            "the system runtime answered with status 500"
        );
    }
}
