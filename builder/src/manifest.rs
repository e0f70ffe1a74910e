//! What an image holds, for people and programs: `manifest.json`, beside the
//! image and in its slot.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// Name of the manifest in a slot.
pub const FILE_NAME: &str = "manifest.json";
/// The format that this version writes and reads.
pub const FORMAT: u32 = 1;

/// The content of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// Name of the board family, such as `rpi4`.
    pub board: String,
    /// Version of Rubus.
    pub version: String,
    /// Identifies the content: the same inputs give the same id.
    pub build_id: String,
    /// Seconds since 1970 of the newest source.
    pub timestamp: i64,
    /// Release of the kernel, as in `uname -r`.
    pub kernel: String,
    /// The other files of the slot, by name.
    pub files: BTreeMap<String, FileEntry>,
    /// The services, by name.
    pub services: BTreeMap<String, ServiceEntry>,
    /// Compressed bytes in the image by area, such as `modules` or a service.
    pub sizes: BTreeMap<String, u64>,
}

/// A file of the slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// A service and what it is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEntry {
    /// What it does, in a few words.
    pub description: String,
    /// Whether it runs when nothing else is configured.
    pub enabled: bool,
    /// The variant that the image starts with, where the service has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Its version, where it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its packages and their versions.
    pub packages: BTreeMap<String, String>,
    /// The image of a registry that it is made from, with its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The variants that are there to switch to, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variants: BTreeMap<String, VariantEntry>,
}

/// A further variant of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantEntry {
    /// Its version, where it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its packages and their versions.
    pub packages: BTreeMap<String, String>,
    /// The image of a registry that it is made from, with its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

impl Manifest {
    /// The manifest as JSON, with a newline at its end.
    ///
    /// # Errors
    /// Never with a manifest that fits into memory.
    pub fn to_json(&self) -> Result<String> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// When it is damaged, or of a newer format.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Probe {
            format: u32,
        }
        let damaged = || format!("{FILE_NAME} is damaged");
        let Probe { format } = serde_json::from_slice(bytes).with_context(damaged)?;
        ensure!(
            format == FORMAT,
            "{FILE_NAME} has format {format}, and this version of rubus reads format {FORMAT}; \
             use the rubus that built the image"
        );
        serde_json::from_slice(bytes).with_context(damaged)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example() -> Manifest {
        Manifest {
            format: FORMAT,
            board: "rpi4".into(),
            version: "0.1.0".into(),
            build_id: "0123456789abcdef".into(),
            timestamp: 1_700_000_000,
            kernel: "6.12.94+deb13-arm64".into(),
            files: BTreeMap::new(),
            services: BTreeMap::from([(
                "ntp".into(),
                ServiceEntry {
                    description: "Network Time Protocol client".into(),
                    enabled: true,
                    packages: BTreeMap::from([("chrony".into(), "4.6.1-3".into())]),
                    ..ServiceEntry::default()
                },
            )]),
            sizes: BTreeMap::from([
                ("service ntp".into(), 700_000),
                ("modules".into(), 9_000_000),
            ]),
        }
    }

    #[test]
    fn a_manifest_survives_the_round_trip() {
        let text = example().to_json().unwrap();
        assert_eq!(Manifest::from_json(text.as_bytes()).unwrap(), example());
        assert!(text.ends_with("}\n"));
    }

    #[test]
    fn a_newer_format_and_a_damaged_file_are_told_apart() {
        let text = example().to_json().unwrap();
        let newer = text.replacen("\"format\": 1", "\"format\": 2", 1);
        let error = Manifest::from_json(newer.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("format 2"), "{error}");
        let error = Manifest::from_json(&text.as_bytes()[..40]).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
    }
}
