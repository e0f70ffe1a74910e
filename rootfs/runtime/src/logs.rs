//! From the FIFOs of a service to its ring.
//!
//! A line leaves the FIFO only after it was written to the ring: what is
//! looked at is a copy that tee(2) makes. So a runtime that is killed at any
//! moment loses nothing; at worst the lines of one batch are there twice. The
//! FIFO is also where the beginning of a line waits for its end.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt},
    },
    path::Path,
    time::SystemTime,
};

use rubus_service::status::{LogLine, Stream};
use rustix::{
    fs::Mode,
    io::Errno,
    pipe::{PipeFlags, SpliceFlags},
};

use crate::{
    lines,
    machine::Micros,
    ring::{CAPACITY, Ring},
};

/// How much of one stream is read before others have their turn.
const BUDGET: usize = 64 * 1024;
/// How much is looked at at once; more than the longest line.
const BATCH: usize = 2 * lines::LONGEST_LINE;
/// How long the beginning of a line waits for its end.
const PARTIAL_WAIT: Micros = 1_000_000;

/// Both streams, in the order of their numbers.
pub(crate) const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// What all logs share: a pipe to copy through, a place to throw things, a
/// buffer.
pub(crate) struct Scratch {
    copy_in: File,
    copy_out: OwnedFd,
    null: File,
    buffer: Box<[u8; BATCH]>,
}

impl Scratch {
    pub(crate) fn new() -> io::Result<Scratch> {
        let (copy_in, copy_out) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Scratch {
            copy_in: File::from(copy_in),
            copy_out,
            null: OpenOptions::new().write(true).open("/dev/null")?,
            buffer: Box::new([0; BATCH]),
        })
    }
}

/// The log of one service.
pub(crate) struct Log {
    fifos: [Fifo; 2],
    pub(crate) ring: Ring,
    /// The last line of standard error, for the reason of a failed start.
    last_error: String,
    /// Why lines are being lost, if they are.
    failure: Option<String>,
}

struct Fifo {
    reader: File,
    /// Since when the beginning of a line waits for its end.
    partial_since: Option<Micros>,
}

impl Log {
    /// Opens the log of a service, and makes what is missing of it.
    pub(crate) fn open(folder: &Path, name: &str) -> io::Result<Log> {
        let open = |stream: &str| -> io::Result<Fifo> {
            let path = folder.join(format!("{name}.{stream}"));
            make_fifo(&path)?;
            // For writing too: then the end of one writer is not the end of
            // the stream.
            let reader = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
                .open(&path)?;
            Ok(Fifo {
                reader,
                partial_since: None,
            })
        };
        Ok(Log {
            fifos: [open("stdout")?, open("stderr")?],
            ring: Ring::open(folder, name, CAPACITY)?,
            last_error: String::new(),
            failure: None,
        })
    }

    /// The ends to listen to, in the order of [`STREAMS`].
    pub(crate) fn readers(&self) -> [BorrowedFd<'_>; 2] {
        self.fifos.each_ref().map(|fifo| fifo.reader.as_fd())
    }

    /// Adds a line of the runtime's own: whoever reads the log to see why a
    /// service ended may find that it could not say so itself.
    pub(crate) fn note(&mut self, text: &str) -> io::Result<()> {
        self.ring.append(&own_line(text)?)
    }

    /// The last line that was written to standard error.
    pub(crate) fn last_error(&self) -> &str {
        &self.last_error
    }

    /// Why lines are being lost, if they are.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// When a line that has no end is due.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        self.fifos
            .iter()
            .filter_map(|fifo| Some(fifo.partial_since? + PARTIAL_WAIT))
            .min()
    }

    /// Moves whole lines from one stream to the ring, up to a budget. Returns
    /// whether there is more to do at once.
    pub(crate) fn drain(
        &mut self,
        scratch: &mut Scratch,
        stream: usize,
        flush: bool,
        now: Micros,
    ) -> io::Result<bool> {
        let mut moved = 0;
        while moved < BUDGET {
            let seen = self.fifos[stream].peek(scratch)?;
            if seen == 0 {
                self.fifos[stream].partial_since = None;
                return Ok(false);
            }
            let overdue = |since: Micros| now >= since + PARTIAL_WAIT;
            let flush = flush || self.fifos[stream].partial_since.is_some_and(overdue);
            let used = self.store(&scratch.buffer[..seen], stream, flush)?;
            if used == 0 {
                self.fifos[stream].partial_since.get_or_insert(now);
                return Ok(false);
            }
            self.fifos[stream].partial_since = None;
            self.fifos[stream].discard(scratch, used)?;
            moved += used;
        }
        Ok(true)
    }

    /// Moves all that there is: the service has ended. Others of its processes
    /// may go on to write, so this is bounded as well.
    pub(crate) fn drain_to_end(&mut self, scratch: &mut Scratch, now: Micros) -> io::Result<()> {
        for stream in 0..STREAMS.len() {
            self.drain(scratch, stream, true, now)?;
        }
        Ok(())
    }

    /// Writes the whole lines of `input` to the ring; how many bytes of it
    /// they take up.
    fn store(&mut self, input: &[u8], stream: usize, flush: bool) -> io::Result<usize> {
        let mut line = LogLine {
            time: now(),
            stream: STREAMS[stream],
            text: String::new(),
        };
        let mut used = 0;
        let mut batch = Vec::new();
        while let Some((text, length)) = lines::next_line(&input[used..], flush) {
            used += length;
            line.text = String::from_utf8_lossy(text).into_owned();
            serde_json::to_writer(&mut batch, &line)?;
            batch.push(b'\n');
            if line.stream == Stream::Stderr && !line.text.trim().is_empty() {
                self.last_error = line.text.chars().take(200).collect();
            }
        }
        if used > 0 {
            // Memory may be full. Then the lines are lost: a service that had
            // to wait for its log would be lost as well.
            self.failure = self.ring.append(&batch).err().map(|it| it.to_string());
        }
        Ok(used)
    }
}

impl Fifo {
    /// Copies the front of the FIFO into the buffer and leaves it there.
    fn peek(&mut self, scratch: &mut Scratch) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK;
        match rustix::pipe::tee(&self.reader, &scratch.copy_out, BATCH, flags) {
            Ok(0) | Err(Errno::AGAIN | Errno::INTR) => return Ok(0),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut seen = 0;
        while seen < BATCH {
            match scratch.copy_in.read(&mut scratch.buffer[seen..]) {
                Ok(0) => break,
                Ok(count) => seen += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(seen)
    }

    /// Takes bytes that were dealt with off the front of the FIFO.
    fn discard(&mut self, scratch: &Scratch, count: usize) -> io::Result<()> {
        let mut left = count;
        while left > 0 {
            let flags = SpliceFlags::NONBLOCK;
            match rustix::pipe::splice(&self.reader, None, &scratch.null, None, left, flags)? {
                0 => break,
                gone => left -= gone,
            }
        }
        Ok(())
    }
}

/// A line of the runtime's own.
pub(crate) fn own_line(text: &str) -> io::Result<Vec<u8>> {
    let line = LogLine {
        time: now(),
        stream: Stream::Runtime,
        text: format!("system-runtime: {text}"),
    };
    let mut bytes = serde_json::to_vec(&line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The time, as lines have it.
fn now() -> String {
    humantime::format_rfc3339_micros(SystemTime::now()).to_string()
}

/// The end of a FIFO that a service writes to. It is open for reading as well,
/// so that the service gets no SIGPIPE when nobody else reads.
pub(crate) fn writer(folder: &Path, name: &str, stream: &str) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(folder.join(format!("{name}.{stream}")))
}

/// Deletes the log of a service that is no more.
pub(crate) fn remove(folder: &Path, name: &str) {
    for end in ["stdout", "stderr", "log", "log.1"] {
        // It may not have got so far as to be made.
        let _ = fs::remove_file(folder.join(format!("{name}.{end}")));
    }
}

fn make_fifo(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_fifo() => return Ok(()),
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )?;
    // Programs open /dev/stdout again by name, as whatever user they are. The
    // folder keeps everybody else away.
    fs::set_permissions(path, fs::Permissions::from_mode(0o622))
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
