//! A file of settings: its values, and where in it they are.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::keys::Path;

/// What is wrong with a file of settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub struct Problem {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The key, with dots between the levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is wrong, and the way out.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": `{key}`")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Values that a file holds, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The file, as messages name it.
    pub file: String,
    /// Its values.
    pub value: Value,
    lines: BTreeMap<Path, usize>,
}

impl Document {
    /// Values that have no lines, such as those of a first boot.
    pub fn new(file: &str, value: Value) -> Self {
        Self {
            file: file.to_owned(),
            value,
            lines: BTreeMap::new(),
        }
    }

    /// Reads TOML.
    ///
    /// # Errors
    /// When it is not TOML, with the line.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, Problem> {
        let at = |offset: Option<usize>, message: &str| Problem {
            file: file.to_owned(),
            line: offset.map(|offset| line_of(text, offset)),
            key: None,
            message: message.trim_end().replace('\n', "; "),
        };
        let table =
            DeTable::parse(text).map_err(|e| at(e.span().map(|span| span.start), e.message()))?;
        let mut lines = BTreeMap::new();
        index(text, &Path::default(), table.get_ref(), &mut lines);
        let value =
            toml::from_str(text).map_err(|e| at(e.span().map(|span| span.start), e.message()))?;
        Ok(Self {
            file: file.to_owned(),
            value,
            lines,
        })
    }

    /// A problem with one of the values, at its line.
    pub fn problem(&self, key: &Path, message: String) -> Problem {
        // What is missing has no line of its own, but what it is missing in has.
        let line = (0..=key.parts().len()).rev().find_map(|length| {
            let mut path = Path::default();
            key.parts()[..length]
                .iter()
                .for_each(|part| path.push(part));
            self.lines.get(&path).copied()
        });
        Problem {
            file: self.file.clone(),
            line,
            key: (!key.parts().is_empty()).then(|| key.to_string()),
            message,
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

fn index(text: &str, path: &Path, table: &DeTable<'_>, lines: &mut BTreeMap<Path, usize>) {
    for (key, value) in table {
        let mut path = path.clone();
        path.push(key.get_ref());
        lines.insert(path.clone(), line_of(text, key.span().start));
        index_value(text, &path, value, lines);
    }
}

fn index_value(
    text: &str,
    path: &Path,
    value: &Spanned<DeValue<'_>>,
    lines: &mut BTreeMap<Path, usize>,
) {
    match value.get_ref() {
        DeValue::Table(inner) => index(text, path, inner, lines),
        DeValue::Array(list) => {
            for (i, item) in list.iter().enumerate() {
                let mut path = path.clone();
                path.push(&i.to_string());
                lines.insert(path.clone(), line_of(text, item.span().start));
                index_value(text, &path, item, lines);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str, key: &str) -> String {
        let document = Document::from_toml("f", text).unwrap();
        let key = Path::parse(key).unwrap();
        document.problem(&key, "wrong".to_owned()).to_string()
    }

    #[test]
    fn a_problem_names_the_line_of_its_value() {
        let text =
            "a = 1\n[ssh]\nport = 22\nkeys = [\n  \"x\",\n  \"y\",\n]\n[[files]]\npath = \"z\"\n";
        assert_eq!(problem(text, "a"), "f:1: `a`: wrong");
        assert_eq!(problem(text, "ssh.port"), "f:3: `ssh.port`: wrong");
        assert_eq!(problem(text, "ssh.keys.1"), "f:6: `ssh.keys.1`: wrong");
        assert_eq!(problem(text, "files.0.path"), "f:9: `files.0.path`: wrong");
        assert_eq!(problem(text, "ssh.gone"), "f:2: `ssh.gone`: wrong");
        assert_eq!(problem(text, ""), "f: wrong");
    }

    #[test]
    fn what_is_not_toml_is_told_with_its_line() {
        for text in ["\nhostname =\n", "\nhostname\n", "\na = 1\na = 2\n", "\n\0"] {
            let problem = Document::from_toml("f", text).unwrap_err();
            assert!(problem.line.is_some_and(|line| line >= 2), "{problem}");
        }
    }
}
