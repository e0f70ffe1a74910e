//! Why something is not done.

use std::{fmt, io};

/// Why a request is not taken in.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The body is longer than this.
    TooLarge(u64),
    /// As much waits as may.
    Full(String),
    /// The body did not arrive.
    Incomplete(String),
    /// There is no room on the disk.
    NoSpace,
    /// It could not be stored.
    Failed(io::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(limit) => write!(
                f,
                "the body is longer than the {limit} bytes that an asynchronous call may have; \
                 call /function/ instead"
            ),
            Self::Full(what) => write!(
                f,
                "the queue is full: {what}; wait until functions have answered"
            ),
            Self::Incomplete(reason) => write!(f, "the body did not arrive: {reason}"),
            Self::NoSpace => f.write_str(
                "the disk of the node is full: the request is not queued; remove what it does not \
                 need, such as images",
            ),
            Self::Failed(error) => write!(f, "Error queuing request: {error}"),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Failed(error),
        }
    }
}

/// Why nothing was done with a dead letter.
#[derive(Debug)]
pub(crate) enum DeadError {
    /// There is none of that name.
    NotFound,
    /// It cannot be called again.
    Damaged,
    /// The disk did not do it.
    Failed(io::Error),
}
