//! A key with dots between its levels, as TOML writes it.

use std::fmt;

use serde_json::Value;

/// A key as its parts. A part with a dot in it is quoted when it is written:
/// `kernel.sysctl."vm.swappiness"`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<String>);

/// A text that is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a key; write it with dots between the levels, as in \"ssh.port\"")]
pub struct PathError(String);

impl Path {
    /// Reads a key; the empty one is the settings as a whole.
    ///
    /// # Errors
    /// When a part is empty, or a quote is not closed.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let wrong = || PathError(text.to_owned());
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let after = if let Some(inner) = rest.strip_prefix('"') {
                let (part, after) = inner.split_once('"').ok_or_else(wrong)?;
                parts.push(part.to_owned());
                after
            } else {
                let end = rest.find('.').unwrap_or(rest.len());
                let (part, after) = rest.split_at(end);
                if part.contains('"') {
                    return Err(wrong());
                }
                parts.push(part.to_owned());
                after
            };
            rest = match after.strip_prefix('.') {
                Some("") => return Err(wrong()),
                Some(next) => next,
                None if after.is_empty() => "",
                None => return Err(wrong()),
            };
        }
        if parts.iter().any(String::is_empty) {
            return Err(wrong());
        }
        Ok(Self(parts))
    }

    /// The parts, outermost first.
    pub fn parts(&self) -> &[String] {
        &self.0
    }

    /// Goes one level down.
    pub fn push(&mut self, part: &str) {
        self.0.push(part.to_owned());
    }

    /// The key of a part of this one.
    pub fn join(&self, part: &str) -> String {
        let mut path = self.clone();
        path.push(part);
        path.to_string()
    }

    /// Whether this key is the other one or a part of it.
    pub fn is_in(&self, whole: &Path) -> bool {
        self.0.starts_with(&whole.0)
    }

    /// What a tree has there.
    pub fn value_in<'a>(&self, tree: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(tree, |tree, part| match tree {
            Value::Object(table) => table.get(part),
            Value::Array(list) => list.get(part.parse::<usize>().ok()?),
            _ => None,
        })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            f.write_str(&quoted(part))?;
        }
        Ok(())
    }
}

/// A part as it is written in a key.
pub(super) fn quoted(part: &str) -> String {
    let bare = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    if !part.is_empty() && part.chars().all(bare) {
        part.to_owned()
    } else {
        format!("\"{part}\"")
    }
}
