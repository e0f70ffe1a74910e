//! One process over one request.

use std::{
    ffi::OsStr,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use hyper::body::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe,
    time,
};

use crate::children::{Child, Children};

/// What to run.
pub(crate) struct Task<'a> {
    /// The program and its arguments; never empty.
    pub(crate) command: &'a [String],
    /// Variables besides the watchdog's own.
    pub(crate) environment: Vec<(String, Vec<u8>)>,
    /// Whether standard error goes where standard output goes.
    pub(crate) combine_output: bool,
}

/// A process with the ends of its pipes.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) stdin: pipe::Sender,
    pub(crate) stdout: pipe::Receiver,
    /// Standard error, where it is not part of the output.
    pub(crate) stderr: Option<pipe::Receiver>,
}

/// What a process left behind.
pub(crate) struct Outcome {
    pub(crate) output: Vec<u8>,
    /// Standard error, where it was kept.
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

impl Task<'_> {
    /// Starts the process.
    pub(crate) fn start(&self, children: &Children) -> io::Result<Process> {
        let (stdin, input) = io::pipe()?;
        let (output, stdout) = io::pipe()?;
        let (errors, stderr) = if self.combine_output {
            (None, stdout.try_clone()?)
        } else {
            let (reader, writer) = io::pipe()?;
            (Some(reader), writer)
        };
        // Nothing here may keep the standard library from `posix_spawn`, which
        // does not copy the watchdog's memory map as `fork` does.
        let mut command = Command::new(&self.command[0]);
        command
            .args(&self.command[1..])
            .envs(
                self.environment
                    .iter()
                    .map(|(name, value)| (name, OsStr::from_bytes(value))),
            )
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::from(stderr));
        let child = children.start(&mut command)?;
        // The command holds the ends of the process; they go here, so that the
        // end of the process is the end of its output.
        drop(command);
        let receiver =
            |reader: io::PipeReader| pipe::Receiver::from_owned_fd(OwnedFd::from(reader));
        Ok(Process {
            child,
            stdin: pipe::Sender::from_owned_fd(input.into())?,
            stdout: receiver(output)?,
            stderr: errors.map(receiver).transpose()?,
        })
    }
}

impl Process {
    /// Gives `input` to the process and waits for the end of its output and of
    /// itself, up to `limit`.
    pub(crate) async fn finish(
        mut self,
        input: Bytes,
        limit: Option<Duration>,
    ) -> io::Result<Outcome> {
        let mut outcome = Outcome {
            output: Vec::new(),
            errors: Vec::new(),
            end: End::TimedOut,
        };
        let (mut stdin, child) = (self.stdin, &mut self.child);
        let work = async {
            let feed = async move {
                // A process need not read what it is given.
                let _ = stdin.write_all(&input).await;
                drop(stdin);
            };
            let errors = async {
                match &mut self.stderr {
                    Some(stderr) => stderr.read_to_end(&mut outcome.errors).await,
                    None => Ok(0),
                }
            };
            let output = self.stdout.read_to_end(&mut outcome.output);
            let ((), output, errors) = tokio::join!(feed, output, errors);
            output.and(errors)?;
            Ok::<_, io::Error>(child.wait().await)
        };
        let result = match limit {
            Some(limit) => time::timeout(limit, work).await,
            None => Ok(work.await),
        };
        match result {
            Ok(status) => outcome.end = End::Exit(status?),
            Err(_) => {
                self.child.kill_group();
                self.child.wait().await;
            }
        }
        Ok(outcome)
    }
}

/// How Go words a process that could not be started.
pub(crate) fn start_error(program: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound && !program.contains('/') {
        format!("exec: \"{program}\": executable file not found in $PATH")
    } else {
        format!("fork/exec {program}: {error}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_be_started_is_worded_as_go_does() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(
            start_error("nope", &missing),
            "exec: \"nope\": executable file not found in $PATH"
        );
        assert!(start_error("/bin/nope", &missing).starts_with("fork/exec /bin/nope: "));
    }
}
