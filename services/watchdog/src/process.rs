//! Runs one process over one input.

use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use hyper::body::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::unix::pipe,
    process::{Child, Command},
    time,
};

/// What to run, and how.
pub(crate) struct Task {
    /// The program and its arguments; never empty.
    pub(crate) command: Vec<String>,
    /// Variables besides the watchdog's own.
    pub(crate) environment: Vec<(String, Vec<u8>)>,
    /// What it reads from standard input.
    pub(crate) input: Bytes,
    /// Whether standard error goes where standard output goes.
    pub(crate) combine_output: bool,
    /// After which it is killed.
    pub(crate) limit: Option<Duration>,
}

/// What a process left behind.
pub(crate) struct Outcome {
    pub(crate) output: Vec<u8>,
    /// Standard error, where it is not part of the output.
    pub(crate) errors: Vec<u8>,
    pub(crate) end: End,
}

/// How it ended.
pub(crate) enum End {
    Exit(ExitStatus),
    /// It ran longer than it may, and was killed with all its descendants that
    /// stayed in its process group.
    TimedOut,
}

impl Task {
    /// Runs the process to the end of its output and of itself.
    pub(crate) async fn run(self) -> io::Result<Outcome> {
        let (mut child, mut output) = self.spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let stdin = child.stdin.take();
        let mut stderr = child.stderr.take();

        let mut outcome = Outcome {
            output: Vec::new(),
            errors: Vec::new(),
            end: End::TimedOut,
        };
        let work = async {
            let feed = async {
                if let Some(mut stdin) = stdin {
                    // A process need not read what it is given.
                    let _ = stdin.write_all(&self.input).await;
                }
            };
            let ((), read, errors) = tokio::join!(
                feed,
                output.read_to_end(&mut outcome.output),
                read_optional(stderr.as_mut(), &mut outcome.errors),
            );
            read?;
            errors?;
            child.wait().await
        };
        let result = match self.limit {
            Some(limit) => time::timeout(limit, work).await,
            None => Ok(work.await),
        };
        match result {
            Ok(status) => outcome.end = End::Exit(status?),
            Err(_) => {
                // The process is not reaped yet, so its group is still its own.
                if let Some(group) = group {
                    let _ = kill_process_group(group, Signal::KILL);
                }
                child.wait().await?;
            }
        }
        Ok(outcome)
    }

    fn spawn(&self) -> io::Result<(Child, pipe::Receiver)> {
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(&self.command[0]);
        command
            .args(&self.command[1..])
            .envs(
                self.environment
                    .iter()
                    .map(|(name, value)| (name, OsStr::from_bytes(value))),
            )
            .stdin(Stdio::piped())
            .stderr(if self.combine_output {
                writer.try_clone()?.into()
            } else {
                Stdio::piped()
            })
            .stdout(writer)
            .process_group(0);
        let child = command.spawn()?;
        // The command holds the writing end; it goes here, so that the end of
        // the process is the end of the output.
        drop(command);
        Ok((child, pipe::Receiver::from_owned_fd(reader.into())?))
    }
}

async fn read_optional(
    source: Option<&mut (impl AsyncRead + Unpin)>,
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    if let Some(source) = source {
        source.read_to_end(buffer).await?;
    }
    Ok(())
}
