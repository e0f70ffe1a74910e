//! Who may log in.

use rubus_config::settings::Settings;

/// What follows from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// The content of `authorized_keys`.
    pub(crate) keys: String,
    /// How many keys there are.
    pub(crate) count: usize,
    /// What was refused, as messages.
    pub(crate) refused: Vec<String>,
}

impl Access {
    /// Takes the keys that are one line each. What sshd makes of a line is its
    /// own affair, but one key must not smuggle in a second.
    pub(crate) fn of(settings: &Settings) -> Self {
        let mut access = Self {
            keys: String::new(),
            count: 0,
            refused: Vec::new(),
        };
        for (index, key) in settings.ssh.authorized_keys.iter().enumerate() {
            let key = key.trim();
            if key.is_empty() || key.starts_with('#') {
                continue;
            }
            if key.contains(char::is_control) {
                access.refused.push(format!(
                    "ssh.authorized_keys[{index}] is not one line; write one key an entry"
                ));
                continue;
            }
            access.keys.push_str(key);
            access.keys.push('\n');
            access.count += 1;
        }
        access
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rubus_config::settings::Ssh;

    use super::*;

    pub(crate) fn with_keys(keys: &[&str]) -> Access {
        Access::of(&Settings {
            ssh: Ssh {
                authorized_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            },
            ..Settings::default()
        })
    }

    #[test]
    fn each_key_is_a_line() {
        let access = with_keys(&["ssh-ed25519 AAAA me@x", "  ssh-ed25519 BBBB\n"]);
        assert_eq!(access.keys, "ssh-ed25519 AAAA me@x\nssh-ed25519 BBBB\n");
        assert_eq!((access.count, access.refused.len()), (2, 0));
    }

    #[test]
    fn empty_lines_and_comments_are_no_keys() {
        assert_eq!(with_keys(&["", "  ", "# mine"]).count, 0);
    }

    #[test]
    fn a_key_of_two_lines_is_refused_and_named() {
        let access = with_keys(&["a", "b\nc", "d\0"]);
        assert_eq!(access.keys, "a\n");
        assert_eq!(access.refused.len(), 2);
        assert!(access.refused[0].contains("authorized_keys[1]"));
    }
}
