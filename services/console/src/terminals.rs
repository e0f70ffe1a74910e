//! Which terminals get a login prompt.

use std::{fs, path::Path};

/// A terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// Its name below `/dev`.
    pub(crate) name: String,
    /// What it understands, as terminfo calls it.
    pub(crate) kind: &'static str,
}

/// The terminals of this machine: the kernel's consoles, and the first virtual
/// one once there is a screen. `class` is `/sys/class`.
pub(crate) fn present(class: &Path) -> Vec<Terminal> {
    let active = fs::read_to_string(class.join("tty/console/active")).unwrap_or_default();
    let screen = class.join("graphics/fb0").exists();
    wanted(&active, screen)
}

/// The terminals for these active consoles. A virtual console without a screen
/// would be a prompt that nobody sees.
fn wanted(active: &str, screen: bool) -> Vec<Terminal> {
    let mut terminals: Vec<Terminal> = Vec::new();
    let mut add = |name: &str, kind| {
        if terminals.iter().all(|known| known.name != name) {
            terminals.push(Terminal {
                name: name.to_owned(),
                kind,
            });
        }
    };
    for name in active.split_whitespace() {
        let is_virtual = name
            .strip_prefix("tty")
            .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_virtual && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            add(name, "vt220");
        }
    }
    if screen {
        add("tty1", "linux");
    }
    terminals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(active: &str, screen: bool) -> Vec<String> {
        wanted(active, screen)
            .into_iter()
            .map(|terminal| terminal.name)
            .collect()
    }

    #[test]
    fn each_serial_console_gets_a_prompt() {
        assert_eq!(names("ttyAMA0\n", false), ["ttyAMA0"]);
        assert_eq!(names("ttyS0 ttyAMA10\n", false), ["ttyS0", "ttyAMA10"]);
        assert_eq!(names("hvc0", false), ["hvc0"]);
    }

    #[test]
    fn the_virtual_console_gets_one_when_there_is_a_screen() {
        assert_eq!(names("tty0 ttyAMA0\n", false), ["ttyAMA0"]);
        assert_eq!(names("tty0 ttyAMA0\n", true), ["ttyAMA0", "tty1"]);
        assert_eq!(names("tty1\n", true), ["tty1"]);
        assert_eq!(names("ttyAMA0\n", true), ["ttyAMA0", "tty1"]);
    }

    #[test]
    fn no_console_no_prompt() {
        assert!(names("", false).is_empty());
        assert!(names("../x", false).is_empty());
    }

    #[test]
    fn screens_and_serial_lines_speak_differently() {
        let kinds: Vec<_> = wanted("ttyAMA0", true)
            .into_iter()
            .map(|terminal| terminal.kind)
            .collect();
        assert_eq!(kinds, ["vt220", "linux"]);
    }
}
