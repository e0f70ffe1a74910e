//! Who may log in.

use rubus_config::settings::Settings;

/// What follows from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// The content of `authorized_keys`.
    pub(crate) keys: String,
    /// How many keys there are.
    pub(crate) count: usize,
}

impl Access {
    /// Takes the keys, one a line. What sshd makes of a line is its own affair.
    pub(crate) fn of(settings: &Settings) -> Self {
        let keys = &settings.ssh.authorized_keys;
        Self {
            keys: keys.iter().flat_map(|key| [key.as_str(), "\n"]).collect(),
            count: keys.len(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn with_keys(keys: &[&str]) -> Access {
        let mut settings = Settings::default();
        settings.ssh.authorized_keys = keys.iter().map(|&key| key.try_into().unwrap()).collect();
        Access::of(&settings)
    }

    #[test]
    fn each_key_is_a_line() {
        let access = with_keys(&["ssh-ed25519 AAAA me@x", "ssh-ed25519 BBBB"]);
        assert_eq!(access.keys, "ssh-ed25519 AAAA me@x\nssh-ed25519 BBBB\n");
        assert_eq!(access.count, 2);
    }
}
