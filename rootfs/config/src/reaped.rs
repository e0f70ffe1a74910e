//! Processes that `init` reaped, for a runtime that looks for the end of a
//! service that it adopted: such a process is not its child, and only process 1
//! learns how it ended.

use serde::{Deserialize, Serialize};

/// One line of [`crate::paths::REAPED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaped {
    /// The process id that it had.
    pub pid: i32,
    /// How it ended, as `waitpid` reports it.
    pub status: i32,
}
