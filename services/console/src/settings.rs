//! The node's configuration.

use std::{fs, path::Path};

use rubus_config::settings::Settings;

/// Reads the merged configuration that `init` rendered.
///
/// # Errors
/// When it cannot be read or is not a configuration.
pub(crate) fn read(path: &Path) -> Result<Settings, String> {
    let text =
        fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_slice(&text)
        .map_err(|error| format!("cannot understand {}: {error}", path.display()))
}
