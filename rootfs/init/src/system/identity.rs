//! Who this machine is.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nix::unistd::sethostname;
use rubus_config::paths;
use rubus_config::settings::Settings;

use crate::sys;
use rubus_config::files;

/// The id of the machine: made once, kept on the data partition.
pub(super) fn machine_id() -> Result<String> {
    let path = Path::new(paths::STATE).join("machine-id");
    if let Some(id) = fs::read_to_string(&path).ok().as_deref().and_then(valid_id) {
        return Ok(id);
    }
    let random = sys::random::bytes().context("cannot get random bytes")?;
    let id = new_id(random);
    files::replace(&path, format!("{id}\n").as_bytes(), 0o444)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(id)
}

/// The name of the node: the configured one, or one that follows from its id.
pub(super) fn hostname(settings: &Settings, machine_id: &str) -> String {
    if let Some(name) = &settings.hostname {
        return name.as_str().to_owned();
    }
    let end = machine_id.len().saturating_sub(6);
    format!("rubus-{}", machine_id.get(end..).unwrap_or_default())
}

/// Gives the kernel the name of the node.
pub(super) fn set_hostname(name: &str) -> Result<()> {
    sethostname(name).with_context(|| format!("cannot set the hostname {name:?}"))
}

/// 32 digits, as in `machine-id(5)`.
fn valid_id(text: &str) -> Option<String> {
    let id = text.trim_end();
    let digits = id
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (id.len() == 32 && digits && id.bytes().any(|b| b != b'0')).then(|| id.to_owned())
}

/// A random UUID in that form.
fn new_id(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0F | 0x40;
    random[8] = random[8] & 0x3F | 0x80;
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{hostname, new_id, valid_id};
    use rubus_config::settings::Settings;

    #[test]
    fn a_new_id_is_a_valid_one() {
        for byte in [0, 0xFF] {
            let id = new_id([byte; 16]);
            assert_eq!(valid_id(&format!("{id}\n")), Some(id));
        }
        assert_eq!(new_id([0; 16]), "00000000000040008000000000000000");
    }

    #[test]
    fn half_written_and_foreign_ids_are_not_kept() {
        for text in [
            "",
            "0123",
            "00000000000000000000000000000000",
            "0123456789ABCDEF0123456789ABCDEF",
            "0123456789abcdef0123456789abcdef0",
            "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ] {
            assert_eq!(valid_id(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_node_without_a_name_is_called_after_its_id() {
        let mut settings = Settings::default();
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(hostname(&settings, id), "rubus-abcdef");
        settings.hostname = Some("node1".try_into().unwrap());
        assert_eq!(hostname(&settings, id), "node1");
    }
}
