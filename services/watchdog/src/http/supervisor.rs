//! The process that speaks HTTP: its start, its output, and its end.

use std::time::Duration;

use tokio::{net::unix::pipe, sync::watch, time};

use super::pool;
use crate::{
    children::{Child, Children, exit_error},
    config::{Config, Upstream},
    lines::{self, Stream},
    log,
    process::{self, Task},
};

/// Pauses between looks at whether the process listens.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// The process.
pub(crate) struct Process {
    child: Child,
    /// Some programs end with their input.
    _stdin: pipe::Sender,
}

impl Process {
    pub(super) fn start(config: &Config, children: &Children) -> Result<Self, String> {
        let command = &config.process;
        log::line(format_args!(
            "Forking: {}, arguments: [{}]",
            command[0],
            command[1..].join(" ")
        ));
        let task = Task {
            command,
            environment: Vec::new(),
            combine_output: false,
        };
        let process = task
            .start(children)
            .map_err(|error| process::start_error(&command[0], &error))?;
        let pass_on = |source, stream: Stream| {
            let name = stream.name();
            log::line(format_args!("Started logging: {name} from function."));
            tokio::spawn(lines::pass_on(source, stream, config.lines));
        };
        if let Some(stderr) = process.stderr {
            pass_on(stderr, Stream::Stderr);
        }
        pass_on(process.stdout, Stream::Stdout);
        Ok(Self {
            child: process.child,
            _stdin: process.stdin,
        })
    }

    /// Asks the process to end.
    pub(crate) fn terminate(&self) {
        self.child.terminate();
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// When it did not exit with 0.
    pub(crate) async fn ended(&mut self) -> Result<(), String> {
        let status = self.child.wait().await;
        if status.success() {
            return Ok(());
        }
        let status = exit_error(status);
        Err(format!("Forked function has terminated: {status}"))
    }
}

/// Looks again and again whether somebody listens, until it is so.
pub(super) fn watch(upstream: Upstream) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let mut pause = FIRST_PAUSE;
        // The connection is closed at once: a server of a single thread would
        // wait for a request on it.
        while pool::reach(&upstream).await.is_err() {
            time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        sender.send_replace(true);
    });
    receiver
}
