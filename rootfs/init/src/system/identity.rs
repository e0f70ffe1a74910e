//! Who this machine is.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nix::unistd::sethostname;
use rubus_config::paths;

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
    use super::{new_id, valid_id};

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
}
