//! The processes of the watchdog, and those that they leave behind.
//!
//! In a container the watchdog is the first process: whatever loses its parent
//! becomes its child, and stays a zombie unless it is waited for. So one place
//! waits for everything, and tells those who asked how theirs ended.

use std::{
    collections::HashMap,
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper, wait,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// Who waits for which process.
type Waiting = HashMap<Pid, oneshot::Sender<ExitStatus>>;

/// The processes that the watchdog started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Children(Arc<Mutex<Waiting>>);

impl Children {
    /// Begins to wait for processes; within a runtime of one thread only.
    pub(crate) fn watch() -> Result<Self, String> {
        let mut ended = signal(SignalKind::child())
            .map_err(|error| format!("cannot wait for processes: {error}"))?;
        // Orphans go to the first process, which need not be the watchdog.
        let _ = set_child_subreaper(Some(getpid()));
        let children = Self::default();
        let all = children.clone();
        tokio::spawn(async move {
            while ended.recv().await.is_some() {
                all.reap();
            }
        });
        Ok(children)
    }

    /// Starts `command` as the head of a process group of its own.
    pub(crate) fn start(&self, command: &mut Command) -> io::Result<Child> {
        let process = command.process_group(0).spawn()?;
        let pid = Pid::from_raw(process.id().cast_signed())
            .ok_or_else(|| io::Error::other("the process has no number"))?;
        let (sender, status) = oneshot::channel();
        // It may have ended by now, but nobody has waited for it: that is done by
        // a task of this thread.
        self.lock().insert(pid, sender);
        Ok(Child {
            pid,
            status,
            ended: None,
        })
    }

    fn reap(&self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if let Some(sender) = self.lock().remove(&pid) {
                // Who hung up does not want to know.
                let _ = sender.send(ExitStatus::from_raw(status.as_raw()));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process. When this is dropped before its end was waited for, the process
/// is killed with its descendants.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    status: oneshot::Receiver<ExitStatus>,
    ended: Option<ExitStatus>,
}

impl Child {
    /// Waits for the end of the process.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        if let Some(status) = self.ended {
            return status;
        }
        // The sender stays until the process has ended.
        let status = (&mut self.status).await.unwrap_or_default();
        *self.ended.insert(status)
    }

    /// Asks the process to end.
    pub(crate) fn terminate(&self) {
        if self.ended.is_none() {
            let _ = kill_process(self.pid, Signal::TERM);
        }
    }

    /// Kills the process with all its descendants that stayed in its group.
    ///
    /// The number of a group is not given away while a process is in it, be it
    /// that its head has ended already.
    pub(crate) fn kill_group(&self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill_group();
        }
    }
}

/// How Go words the end of a process that did not exit with 0.
pub(crate) fn exit_error(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(6)) => "signal: aborted".to_owned(),
        (None, Some(9)) => "signal: killed".to_owned(),
        (None, Some(11)) => "signal: segmentation fault".to_owned(),
        (None, Some(15)) => "signal: terminated".to_owned(),
        (None, signal) => format!("signal: {}", signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_worded_as_go_does() {
        for (raw, text) in [
            (1 << 8, "exit status 1"),
            (6, "signal: aborted"),
            (9, "signal: killed"),
            (11, "signal: segmentation fault"),
            (15, "signal: terminated"),
            (10, "signal: 10"),
        ] {
            assert_eq!(exit_error(ExitStatus::from_raw(raw)), text);
        }
    }
}
