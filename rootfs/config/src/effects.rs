//! What follows from a change of settings, as `ros` and the runtime carry it
//! out.

use serde::{Deserialize, Serialize};

/// What has to happen for a change to count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// Keys whose value changed.
    pub changed: Vec<String>,
    /// Services to stop, in order: the change turned them off.
    pub stop: Vec<String>,
    /// Services to start, in order: the change turned them on.
    pub start: Vec<String>,
    /// Services to restart, in order.
    pub restart: Vec<String>,
    /// Services that read their settings anew and go on, in order.
    pub reload: Vec<String>,
    /// Keys that count from the next boot.
    pub reboot: Vec<String>,
}
