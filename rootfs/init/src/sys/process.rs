//! Ends of processes.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// A child that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its process id.
    pub(crate) pid: i32,
    /// How it ended, as `wait` reports it.
    pub(crate) status: ExitStatus,
}

/// What there is to reap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaped {
    /// This child has ended and is gone now.
    One(Ended),
    /// There are children, and all of them run.
    NoneEnded,
    /// There is no child.
    NoChildren,
}

/// Reaps one child that has ended, without waiting for one.
pub(crate) fn reap() -> Reaped {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the status and outlives the call.
    match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
        0 => Reaped::NoneEnded,
        pid if pid > 0 => Reaped::One(Ended {
            pid,
            status: ExitStatus::from_raw(status),
        }),
        _ => Reaped::NoChildren,
    }
}
