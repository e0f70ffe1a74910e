//! The files of a first boot: what cloud-init's NoCloud source reads
//! (`user-data`, `network-config`, `meta-data`), in the subset that people write
//! for a Raspberry Pi, and Rubus's own settings under `rubus:` in `user-data`.
//!
//! Every value is taken or named: what is not supported is told, and one wrong
//! value does not cost the others. The formats are those of
//! <https://docs.cloud-init.io/en/latest/reference/>.

mod found;
mod network;
mod network_v1;
mod user;
mod user_data;
mod yaml;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};

use crate::keys::Schema;
use crate::node::FirstBoot;
use found::Found;

/// No file of a first boot is larger.
pub const MOST_BYTES: usize = 256 << 10;

/// Names of the files that are read.
pub const NAMES: [&str; 5] = [
    USER_DATA,
    NETWORK_CONFIG,
    META_DATA,
    "userconf.txt",
    "userconf",
];
/// Names of files that are only looked for.
pub const OTHER_NAMES: [&str; 5] = [
    "ssh",
    "ssh.txt",
    "wpa_supplicant.conf",
    "firstrun.sh",
    "custom.toml",
];

const USER_DATA: &str = "user-data";
const NETWORK_CONFIG: &str = "network-config";
const META_DATA: &str = "meta-data";

/// What lies on the first partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Names and contents of those of [`NAMES`] that are there.
    pub contents: Vec<(String, Vec<u8>)>,
    /// Those of [`OTHER_NAMES`] that are there.
    pub others: Vec<String>,
}

/// What to do with the files that are there.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// There are none, or they were processed: what is kept counts.
    Keep,
    /// They were processed, and something in them changed since; the instance
    /// id, which this is, did not.
    KeepThoughChanged(String),
    /// They are new, and this is what they say.
    Process(FirstBoot),
}

impl Files {
    fn text(&self, name: &str) -> Option<&[u8]> {
        let found = self.contents.iter().find(|(it, _)| it == name);
        found.map(|(_, content)| content.as_slice())
    }

    /// A digest of everything that is there.
    fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for (name, content) in &self.contents {
            digest.update((name.len() as u64).to_le_bytes());
            digest.update(name);
            digest.update((content.len() as u64).to_le_bytes());
            digest.update(content);
        }
        let digest = digest.finalize();
        digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// Whether files are to be processed: once for each instance id, as cloud-init
/// does it. They are read only where something in them is new, which is at one
/// boot of many.
pub fn decide(schema: &Schema, kept: Option<&FirstBoot>, files: &Files) -> Decision {
    let nothing = files.contents.is_empty() && (kept.is_some() || files.others.is_empty());
    if nothing || kept.is_some_and(|kept| kept.digest == files.digest()) {
        return Decision::Keep;
    }
    let found = read(schema, files);
    match kept {
        Some(kept) if kept.instance == found.instance => {
            Decision::KeepThoughChanged(found.instance)
        }
        _ => Decision::Process(found),
    }
}

/// Reads the files. Whatever is in them, this gives settings that are valid.
pub fn read(schema: &Schema, files: &Files) -> FirstBoot {
    let mut found = Found::new(schema);
    let digest = files.digest();
    // Without meta-data, files that changed are another instance.
    let mut instance = format!("iid-{digest}");
    let mut own_hostname = false;

    if let Some(content) = files.text(USER_DATA) {
        found.file(USER_DATA);
        own_hostname = user_data::read(&mut found, content);
    }
    if let Some(content) = files.text(META_DATA) {
        found.file(META_DATA);
        if let Some(id) = user_data::read_meta_data(&mut found, content, own_hostname) {
            instance = id;
        }
    }
    if let Some(content) = files.text(NETWORK_CONFIG) {
        found.file(NETWORK_CONFIG);
        network::read(&mut found, content);
    }
    for name in ["userconf.txt", "userconf"] {
        if let Some(content) = files.text(name) {
            found.file(name);
            user::read_userconf(&mut found, content);
        }
    }
    for name in &files.others {
        found.file(name);
        match name.as_str() {
            "ssh" | "ssh.txt" => found.note(
                "the ssh server always runs; what it takes to log in is a key or a password \
                 hash in user-data",
            ),
            "wpa_supplicant.conf" => {
                found.unsupported(
                    "",
                    "write Wi-Fi networks to `network-config`, or under `rubus:` in `user-data`",
                );
            }
            _ => found.unsupported("", "write `user-data` instead"),
        }
    }
    let (settings, notes, unsupported) = found.finish();
    FirstBoot {
        instance,
        digest,
        notes,
        unsupported,
        settings,
    }
}
