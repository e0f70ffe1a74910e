//! What a process writes besides its answers, line by line into the log.

use std::{
    io::{self, Write},
    time::SystemTime,
};

use tokio::{io::AsyncReadExt, net::unix::pipe};

use crate::{config::Lines, log};

/// Bytes that are read at once.
const CHUNK: usize = 8 << 10;

/// A stream of a process, and of the watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    /// What stands before its lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// A log that nobody reads any more must not end the function.
    fn write(self, text: &[u8]) {
        let _ = match self {
            Self::Stdout => {
                let mut stdout = io::stdout();
                stdout.write_all(text).and_then(|()| stdout.flush())
            }
            Self::Stderr => io::stderr().write_all(text),
        };
    }
}

/// Writes the lines from `source` to the stream of the same name, until it ends.
pub(crate) async fn pass_on(mut source: pipe::Receiver, stream: Stream, form: Lines) {
    let mut splitter = Splitter::new(form.longest);
    let mut chunk = vec![0; CHUNK];
    let mut text = Vec::new();
    loop {
        let read = source.read(&mut chunk).await.unwrap_or(0);
        let now = SystemTime::now();
        let mut write = |line: &[u8]| {
            if form.prefix {
                log::stamp(&mut text, now);
                text.extend_from_slice(stream.name().as_bytes());
                text.extend_from_slice(b": ");
            }
            text.extend_from_slice(line);
            text.push(b'\n');
        };
        if read == 0 {
            splitter.finish(&mut write);
        } else {
            splitter.split(&chunk[..read], &mut write);
        }
        stream.write(&text);
        text.clear();
        if read == 0 {
            return;
        }
    }
}

/// Cuts bytes into lines.
struct Splitter {
    begun: Vec<u8>,
    longest: usize,
}

impl Splitter {
    fn new(longest: Option<usize>) -> Self {
        Self {
            begun: Vec::new(),
            longest: longest.unwrap_or(usize::MAX),
        }
    }

    /// Gives every line that `bytes` end to `write`, and of a line that is too
    /// long what fits.
    fn split(&mut self, bytes: &[u8], write: &mut impl FnMut(&[u8])) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (mut part, ended) = match part.strip_suffix(b"\n") {
                Some(line) => (line, true),
                None => (part, false),
            };
            while self.begun.len() + part.len() > self.longest {
                let (fits, rest) = part.split_at(self.longest - self.begun.len());
                self.begun.extend_from_slice(fits);
                write(&self.begun);
                self.begun.clear();
                part = rest;
            }
            if !ended {
                self.begun.extend_from_slice(part);
            } else if self.begun.is_empty() {
                write(without_return(part));
            } else {
                self.begun.extend_from_slice(part);
                write(without_return(&self.begun));
                self.begun.clear();
            }
        }
    }

    /// Gives what stands behind the last line end to `write`.
    fn finish(&mut self, write: &mut impl FnMut(&[u8])) {
        if !self.begun.is_empty() {
            write(without_return(&self.begun));
            self.begun.clear();
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(longest: Option<usize>, chunks: &[&str]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut write = |line: &[u8]| lines.push(String::from_utf8(line.to_vec()).unwrap());
        let mut splitter = Splitter::new(longest);
        for chunk in chunks {
            splitter.split(chunk.as_bytes(), &mut write);
        }
        splitter.finish(&mut write);
        lines
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        assert_eq!(lines(None, &["a\nb\n"]), ["a", "b"]);
        assert_eq!(lines(None, &["a", "b\nc", "\n"]), ["ab", "c"]);
        assert_eq!(lines(None, &["a\r\n\n", "b"]), ["a", "", "b"]);
        assert!(lines(None, &[]).is_empty());
    }

    #[test]
    fn a_line_that_is_too_long_becomes_several() {
        assert_eq!(lines(Some(3), &["abc\nabcd\n"]), ["abc", "abc", "d"]);
        assert_eq!(lines(Some(3), &["ab", "cdefgh"]), ["abc", "def", "gh"]);
        assert_eq!(lines(Some(1), &["ab\n"]), ["a", "b"]);
    }
}
