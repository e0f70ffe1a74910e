//! Settings on trial: they count until they are confirmed or their time is over.
//! All of a trial lies in memory, so that a boot ends it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::effects::Effects;

/// The content of [`crate::paths::TRIAL`], for root only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// What counts as set on the node while it lasts. Secrets are in it.
    pub layer: Value,
    /// Keys whose value it changes.
    pub keys: Vec<String>,
    /// When it ends by itself: microseconds since the kernel started
    /// (`CLOCK_BOOTTIME`).
    pub ends_us: u64,
    /// It is over and its settings are gone; this is left to do. The runtime
    /// removes the file once it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_back: Option<Effects>,
}

impl Trial {
    /// Seconds that are left of it, rounded up.
    pub const fn seconds_left(&self, now_us: u64) -> u64 {
        self.ends_us.saturating_sub(now_us).div_ceil(1_000_000)
    }
}
