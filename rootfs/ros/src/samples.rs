//! Values that several tests start from.

use rubus_service::Kind;
use rubus_service::status::{State, Status};

/// A service in a state, with nothing else worth telling.
pub(crate) fn service(name: &str, state: State) -> Status {
    Status {
        name: name.to_owned(),
        description: String::new(),
        kind: Kind::Daemon,
        enabled: true,
        state,
        pid: None,
        started_us: None,
        ready_us: None,
        restarts: 0,
        exit: None,
        memory: None,
        reason: String::new(),
        variant: None,
        added: false,
        notice: String::new(),
    }
}
