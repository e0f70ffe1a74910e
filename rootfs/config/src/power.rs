//! How the system runtime tells `init` what should happen to the machine.
//!
//! The runtime stops the services and ends with one of these exit codes;
//! `init` then unmounts and carries it out. Any other end of the runtime is a
//! failure, and `init` starts it again.

use serde::{Deserialize, Serialize};

/// What should happen to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PowerAction {
    /// Start again.
    Reboot,
    /// Switch off, or halt where the board cannot.
    Poweroff,
}

impl PowerAction {
    /// The exit code by which the runtime asks for this.
    pub const fn exit_code(self) -> i32 {
        match self {
            Self::Reboot => 100,
            Self::Poweroff => 101,
        }
    }

    /// The action that an exit code of the runtime asks for.
    pub const fn from_exit_code(code: i32) -> Option<Self> {
        match code {
            100 => Some(Self::Reboot),
            101 => Some(Self::Poweroff),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PowerAction;

    #[test]
    fn exit_codes_survive_the_round_trip() {
        for action in [PowerAction::Reboot, PowerAction::Poweroff] {
            assert_eq!(
                PowerAction::from_exit_code(action.exit_code()),
                Some(action)
            );
        }
        assert_eq!(PowerAction::from_exit_code(0), None);
        assert_eq!(PowerAction::from_exit_code(1), None);
    }
}
