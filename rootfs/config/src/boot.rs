//! The boot record: what `init` and the runtime did, and when.

use serde::{Deserialize, Serialize};

/// Who did a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// `init` in the initramfs.
    Initramfs,
    /// `init` in the system root.
    System,
}

/// One step of the boot. Times are microseconds since the kernel started
/// (`CLOCK_BOOTTIME`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Where it ran.
    pub stage: Stage,
    /// Its number within the stage, from 1.
    pub number: u32,
    /// What it does, in a few words.
    pub name: String,
    /// When it began.
    pub start_us: u64,
    /// How long it took.
    pub duration_us: u64,
    /// Something worth knowing, such as "made the data partition".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
