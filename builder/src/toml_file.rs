//! A TOML file that a person wrote, and errors that name the place in it.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, anyhow};
use rubus_service::{keys::key_at, suggest};
use serde::de::DeserializeOwned;
use toml::de::DeTable;

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
            let Some(span) = error.span() else {
                return anyhow!("{}: {}", self.name(), explain(error.message()));
            };
            let place = self.place(span.start);
            if is_about_keys(error.message()) {
                return anyhow!("{place}: {}", explain(error.message()));
            }
            let key = DeTable::parse(&self.text)
                .ok()
                .and_then(|table| key_at(table.get_ref(), span.start))
                .map_or_else(String::new, |key| format!("`{key}`: "));
            anyhow!("{place}: {key}{}", explain(error.message()))
        })
    }
}

/// Whether a message of serde names the key itself.
fn is_about_keys(message: &str) -> bool {
    ["unknown field", "missing field", "duplicate field"]
        .iter()
        .any(|start| message.starts_with(start))
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;

    fn error<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        fs::write(&path, text).unwrap();
        let error = TomlFile::read(path).unwrap().parse::<T>().unwrap_err();
        let text = error.to_string();
        let (_, text) = text.split_once("x.toml").unwrap();
        text.to_owned()
    }

    #[test]
    fn a_wrong_type_names_line_and_key() {
        type Numbers = BTreeMap<String, BTreeMap<String, u8>>;
        let said = error::<Numbers>("[limits]\nmemory = 1\npids = \"many\"\n");
        assert!(
            said.starts_with(":3: `limits.pids`: invalid type: string"),
            "{said}"
        );
        let said = error::<Numbers>("[limits]\npids = 1000\n");
        assert!(said.starts_with(":2: `limits.pids`: "), "{said}");
        let said = error::<Numbers>("[limits\n");
        assert!(said.starts_with(":1: "), "{said}");
    }
}
