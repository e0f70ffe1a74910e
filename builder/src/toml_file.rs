//! A TOML file that a person wrote, and errors that name the place in it.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, anyhow};
use rubus_service::suggest;
use serde::de::DeserializeOwned;

/// The text of a file and its path.
#[derive(Debug)]
pub(crate) struct TomlFile {
    path: PathBuf,
    text: String,
}

impl TomlFile {
    /// Reads a file.
    pub(crate) fn read(path: PathBuf) -> Result<Self> {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { path, text })
    }

    /// The name of the file, with its path.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// File and line of an offset in the text.
    pub(crate) fn place(&self, offset: usize) -> String {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        format!("{}:{line}", self.name())
    }

    /// Reads the text as a definition.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        toml::from_str(&self.text).map_err(|error| {
            let place = match error.span() {
                Some(span) => self.place(span.start),
                None => self.name(),
            };
            anyhow!("{place}: {}", explain(error.message()))
        })
    }
}

/// Says an error of serde in plainer words, with the key that was likely
/// meant when one is unknown.
fn explain(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match quoted.next() {
        Some(key) if message.starts_with("unknown field") => {
            let known: Vec<&str> = quoted.collect();
            format!(
                "unknown key {key:?}; the keys here are {}{}",
                known.join(", "),
                suggest::hint(key, known.iter().copied())
            )
        }
        Some(key) if message.starts_with("missing field") => format!("the key {key:?} is missing"),
        _ => message.replace('\n', " ").trim().to_owned(),
    }
}
