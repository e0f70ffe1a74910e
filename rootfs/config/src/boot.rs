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

/// Whether the kernel command line asks for recovery, by the word
/// `rubus.recovery`: terminals then show what can be done instead of a login,
/// and services are what the image starts with.
pub fn recovery(cmdline: &str) -> bool {
    cmdline.split_whitespace().any(|it| it == "rubus.recovery")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_itself_asks_for_recovery() {
        assert!(recovery("console=tty1 rubus.recovery quiet\n"));
        for cmdline in ["", "rubus.rescue", "rubus.recovery=0", "norubus.recovery"] {
            assert!(!recovery(cmdline), "{cmdline}");
        }
    }
}
