//! The configuration of the device: layers into one file that services read.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use rubus_config::paths;
use rubus_config::settings::Settings;

use crate::{files, log};

/// Reads the layers and writes what they come to. A layer that cannot be used
/// is left out and named: a node with a broken configuration still boots.
pub(super) fn load() -> Result<(Settings, Option<String>)> {
    let (settings, note) = match layer(paths::IMAGE_CONFIG) {
        Ok(settings) => (settings, None),
        Err(error) => {
            log::error(&format!("{error:#}; going on with the defaults"));
            (Settings::default(), Some("using the defaults".to_owned()))
        }
    };
    let json = serde_json::to_vec(&settings).context("cannot write the configuration as JSON")?;
    files::replace_lazily(Path::new(paths::CONFIG), &json, 0o600)
        .with_context(|| format!("cannot write {}", paths::CONFIG))?;
    Ok((settings, note))
}

/// The settings of a file, over the defaults; no file is an empty one.
fn layer(path: &str) -> Result<Settings> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text).with_context(|| format!("{path} is not a configuration")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Settings::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {path}")),
    }
}

fn parse(text: &str) -> Result<Settings> {
    Ok(toml::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use rubus_config::settings::Settings;

    #[test]
    fn what_is_not_said_keeps_its_default() {
        let settings = parse("hostname = \"node1\"\n[services]\nntp = false\n").unwrap();
        assert_eq!(settings.hostname.unwrap().as_str(), "node1");
        assert_eq!(settings.services.get("ntp"), Some(&false));
        assert_eq!(settings.ssh, Settings::default().ssh);
        assert_eq!(parse("").unwrap(), Settings::default());
    }

    #[test]
    fn an_error_names_the_line() {
        for text in ["\nhostnam = \"x\"\n", "\nhostname = 5\n", "\nhostname =\n"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{error}");
        }
    }
}
