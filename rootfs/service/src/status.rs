//! What the runtime reports of a service on its API.

use serde::{Deserialize, Serialize};

use crate::Kind;

/// One service, as `GET /v1/services/NAME` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// One line that says what it is.
    pub description: String,
    /// Whether it stays or finishes.
    pub kind: Kind,
    /// Whether it starts at boot.
    pub enabled: bool,
    /// What it does now.
    pub state: State,
    /// Its first process.
    pub pid: Option<u32>,
    /// When it last started: microseconds since the kernel started.
    pub started_us: Option<u64>,
    /// When it was ready after that.
    pub ready_us: Option<u64>,
    /// How often it was started again after it had ended by itself.
    pub restarts: u32,
    /// How it last ended.
    pub exit: Option<Exit>,
    /// Bytes of memory that its cgroup uses.
    pub memory: Option<u64>,
    /// Why it is in this state, for people; empty when that is plain.
    pub reason: String,
    /// Which of its variants it is, where it has more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Whether it was added on the node, and is no part of the image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub added: bool,
    /// What people should know of it even when it is well: that another
    /// variant should run, and why that does not; empty when there is nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notice: String,
}

/// What a service does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Does not run, and nothing will start it by itself.
    Stopped,
    /// Starts when the services that it waits for are ready.
    Waiting,
    /// Its container is being made.
    Starting,
    /// Runs, but is not ready yet.
    Running,
    /// Runs and is ready.
    Ready,
    /// Runs, and its health check fails.
    Unhealthy,
    /// Ended, and starts again in a while.
    Backoff,
    /// Ended with a failure and is not started again.
    Failed,
    /// A oneshot that ended well.
    Done,
    /// Is being stopped.
    Stopping,
}

impl State {
    /// Whether services that wait for it may start.
    pub fn is_ready(self) -> bool {
        matches!(self, State::Ready | State::Done)
    }

    /// The word for it, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            State::Stopped => "stopped",
            State::Waiting => "waiting",
            State::Starting => "starting",
            State::Running => "running",
            State::Ready => "ready",
            State::Unhealthy => "unhealthy",
            State::Backoff => "backoff",
            State::Failed => "failed",
            State::Done => "done",
            State::Stopping => "stopping",
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// While nobody watched.
    Unknown,
}

impl Exit {
    /// Reads the status word of wait(2).
    pub fn from_raw(status: i32) -> Exit {
        match status & 0x7f {
            0 => Exit::Code((status >> 8) & 0xff),
            signal => Exit::Signal(signal),
        }
    }

    /// Whether it is status 0.
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Exit::Code(code) => write!(f, "ended with status {code}"),
            Exit::Signal(number) => match crate::signals::name(number) {
                Some(name) => write!(f, "ended by {name}"),
                None => write!(f, "ended by signal {number}"),
            },
            Exit::Unknown => f.write_str("ended while the runtime was away"),
        }
    }
}

/// One line of a log, as `GET /v1/services/NAME/logs` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was read, RFC 3339 in UTC.
    pub time: String,
    /// Where it was written.
    pub stream: Stream,
    /// The line, without its end.
    pub text: String,
}

/// Where a line of a log was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Nowhere: the runtime itself says how the service ended.
    Runtime,
}

/// How the boot went, as `GET /v1/boot` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot<Step> {
    /// What `init` did.
    pub steps: Vec<Step>,
    /// When the runtime was first launched: microseconds since the kernel
    /// started.
    pub runtime_us: u64,
    /// The services that were started, in that order.
    pub services: Vec<BootedService>,
}

/// The first start of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootedService {
    /// Its name.
    pub name: String,
    /// When its start was asked for: microseconds since the kernel started.
    pub start_us: u64,
    /// When it was ready for the first time.
    pub ready_us: Option<u64>,
    /// What it is doing now.
    pub state: State,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_json() {
        for state in [
            State::Stopped,
            State::Waiting,
            State::Backoff,
            State::Unhealthy,
        ] {
            assert_eq!(
                serde_json::to_string(&state).unwrap(),
                format!("\"{}\"", state.word())
            );
        }
    }

    #[test]
    fn a_wait_status_is_read_as_the_kernel_writes_it() {
        assert_eq!(Exit::from_raw(0), Exit::Code(0));
        assert_eq!(Exit::from_raw(3 << 8), Exit::Code(3));
        assert_eq!(Exit::from_raw(9), Exit::Signal(9));
        assert_eq!(Exit::from_raw(0x80 | 11), Exit::Signal(11));
        assert_eq!(Exit::Signal(9).to_string(), "ended by SIGKILL");
        assert!(!Exit::Unknown.is_success());
    }
}
