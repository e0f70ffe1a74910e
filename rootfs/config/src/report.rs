//! What became of the configuration at boot, for people who look after a node.

use serde::{Deserialize, Serialize};

/// The content of [`crate::paths::CONFIG_REPORT`]. No secret is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Files that the configuration was made from, the strongest last.
    pub files: Vec<String>,
    /// Files that were left out or damaged, and why.
    pub problems: Vec<String>,
    /// What the files of the first boot ask for and Rubus does not do.
    pub unsupported: Vec<String>,
    /// What is worth knowing about the files of the first boot.
    pub notes: Vec<String>,
    /// The instance whose first-boot files count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}
