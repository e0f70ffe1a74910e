//! Every key of the settings: looking one up, what its value may be, and which
//! one was meant. All of it is read from the JSON Schema of [`Settings`].

mod path;
mod value;

use std::sync::OnceLock;

use rubus_service::suggest;
use serde_json::Value;

use crate::settings::Settings;

pub use path::{Path, PathError};

/// Stands for a name that the user chooses, in a list of keys.
const NAME: &str = "NAME";
/// Stands for a place in a list, in a list of keys.
const INDEX: &str = "N";

/// The schema of the settings. It is made when it is first asked for: values
/// that are right are found right without it.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    root: OnceLock<Value>,
}

/// One key that can be set, as the reference page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key; `NAME` and `N` stand for what the user chooses.
    pub key: String,
    /// What kind of value it takes, in words.
    pub kind: String,
    /// Its default in the form of TOML, where there is one.
    pub default: Option<String>,
    /// What it means, in one line.
    pub text: String,
    /// Whether its value is hidden when settings are shown.
    pub secret: bool,
    /// Whether a change waits for the next boot.
    pub reboot: bool,
}

/// A key that was looked up: what its value may be.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    schema: &'a Schema,
    /// The schema of the value, with everything said beside a reference.
    node: &'a Value,
    /// Whether it or a table around it is hidden.
    secret: bool,
    /// Whether it or a table around it waits for a boot.
    reboot: bool,
}

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is no key at all.
    #[error(transparent)]
    Path(#[from] PathError),
    /// There is no such key; with the nearest one, as the end of a sentence.
    #[error("there is no key `{key}`; {hint}")]
    Unknown {
        /// The key as it was asked for.
        key: String,
        /// What was meant, or where to look.
        hint: String,
    },
    /// A place in a list is not a number.
    #[error("`{key}` is a list; {part:?} is no place in it, write a number from 0")]
    NotAnIndex {
        /// The list.
        key: String,
        /// What was written.
        part: String,
    },
    /// A name that the user chose does not have the right form.
    #[error("`{key}`: {message}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong.
        message: String,
    },
}

impl Schema {
    /// The JSON Schema itself.
    pub fn as_value(&self) -> &Value {
        self.root
            .get_or_init(|| schemars::schema_for!(Settings).to_value())
    }

    /// The settings as a whole.
    pub fn entry(&self) -> Entry<'_> {
        Entry {
            schema: self,
            node: self.as_value(),
            secret: false,
            reboot: false,
        }
    }

    /// Looks a key up. What is written behind the name of a table of plain
    /// values is one name, also with dots in it (`kernel.sysctl.vm.swappiness`);
    /// the path that comes back has it as one part.
    ///
    /// # Errors
    /// When there is no such key; the error names the nearest one.
    pub fn find(&self, key: &str) -> Result<(Path, Entry<'_>), KeyError> {
        let asked = Path::parse(key)?;
        let parts = asked.parts();
        let mut entry = self.entry();
        let mut found = Path::default();
        let mut i = 0;
        while let Some(part) = parts.get(i) {
            if let Some(inner) = entry.additional() {
                let inner = entry.with(inner);
                // Nothing can be below a plain value, so the dots belong to the
                // name.
                if inner.is_plain() {
                    found.push(&parts[i..].join("."));
                    return Ok((found, inner));
                }
            }
            if entry.items().is_some() && part.parse::<usize>().is_err() {
                return Err(KeyError::NotAnIndex {
                    key: found.to_string(),
                    part: part.clone(),
                });
            }
            entry = entry
                .child(part)
                .ok_or_else(|| self.unknown(&asked, &found, entry, part))?;
            found.push(part);
            i += 1;
        }
        Ok((found, entry))
    }

    /// The error for a key that is not there.
    fn unknown(&self, asked: &Path, parent: &Path, entry: Entry<'_>, part: &str) -> KeyError {
        let key = asked.to_string();
        let known = entry.fields();
        let hint = if let Some(near) = suggest::nearest(part, known.iter().copied()) {
            format!("did you mean `{}`?", parent.join(near))
        } else if let Some(quoted) = self.with_dot_in_name(asked, parent) {
            format!("a name with a dot in it is quoted, also for the shell: '{quoted}'")
        } else if let Some(near) = self.elsewhere(&key) {
            format!("did you mean `{near}`?")
        } else {
            "`ros config schema --list` shows all".to_owned()
        };
        KeyError::Unknown { key, hint }
    }

    /// The key as it is when a dot belongs to the name before it: shells take
    /// the quotes from `network.interfaces."eth0.7".mtu`. A word at the end is
    /// more likely a key that is not there.
    fn with_dot_in_name(&self, asked: &Path, parent: &Path) -> Option<Path> {
        let (name, table) = parent.parts().split_last()?;
        let rest = asked.parts().get(parent.parts().len()..)?;
        let (second, rest) = rest.split_first()?;
        if rest.is_empty() && second.parse::<u16>().is_err() {
            return None;
        }
        let mut path = Path::default();
        table.iter().for_each(|part| path.push(part));
        let (_, entry) = self.find(&path.to_string()).ok()?;
        entry.additional()?;
        path.push(&format!("{name}.{second}"));
        rest.iter().for_each(|part| path.push(part));
        self.find(&path.to_string()).ok()?;
        Some(path)
    }

    /// The key that ends as this one does, which was written without what it is
    /// in (`port` for `ssh.port`), or else the one that is spelt most like it.
    fn elsewhere(&self, key: &str) -> Option<String> {
        let last = |key: &str| key.rsplit('.').next().map(str::to_owned);
        let all: Vec<String> = self.keys().into_iter().map(|it| it.key).collect();
        let same: Vec<&String> = all.iter().filter(|it| last(it) == last(key)).collect();
        match same[..] {
            [one] => Some(one.clone()),
            _ => suggest::nearest(key, all.iter().map(String::as_str)).map(str::to_owned),
        }
    }

    /// All keys that can be set, in the order of the alphabet.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        self.entry().collect(&Path::default(), None, &mut keys);
        keys
    }

    /// What a key that is written up to here may become. Until the first dot
    /// that is every key up to the first name that the user chooses; behind it,
    /// the next level, with the names that `settings` has. A table is there
    /// twice: as it is, and with the dot that leads into it.
    pub fn complete_key(&self, begun: &str, settings: &Value) -> Vec<String> {
        let mut found = match begun.rsplit_once('.') {
            Some((table, _)) => self.level(table, settings),
            None => self.keys().iter().map(fixed_part).collect(),
        };
        let tables: Vec<String> = found
            .iter()
            .filter(|key| self.find(key).is_ok_and(|(_, entry)| entry.is_table()))
            .map(|key| format!("{key}."))
            .collect();
        found.extend(tables);
        found.retain(|key| key.starts_with(begun));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The keys right below a table.
    fn level(&self, table: &str, settings: &Value) -> Vec<String> {
        let Ok((path, entry)) = self.find(table) else {
            return Vec::new();
        };
        let mut words: Vec<String> = entry.fields().iter().map(|&it| it.to_owned()).collect();
        if entry.additional().is_some()
            && let Some(Value::Object(names)) = path.value_in(settings)
        {
            words.extend(names.keys().map(|name| path::quoted(name)));
        }
        words.iter().map(|word| format!("{table}.{word}")).collect()
    }
}

/// A key without what the user chooses.
fn fixed_part(key: &Key) -> String {
    let parts = key.key.split('.');
    let fixed: Vec<&str> = parts
        .take_while(|part| ![NAME, INDEX].contains(part))
        .collect();
    fixed.join(".")
}

impl<'a> Entry<'a> {
    /// Whether the value is hidden when settings are shown.
    pub const fn is_secret(self) -> bool {
        self.secret
    }

    /// Whether a change waits for the next boot.
    pub const fn needs_reboot(self) -> bool {
        self.reboot
    }

    /// Whether it is a list.
    pub fn is_list(self) -> bool {
        self.items().is_some()
    }

    /// What it means, in one line.
    pub fn text(self) -> String {
        let own = self.node["description"].as_str();
        let text = own.or_else(|| self.definition()["description"].as_str());
        let words = text.unwrap_or_default().split_whitespace();
        words.collect::<Vec<_>>().join(" ")
    }

    /// The key below this one: a field, a name that the user chose, or a place
    /// in a list.
    pub fn child(self, part: &str) -> Option<Entry<'a>> {
        let node = self
            .definition()
            .get("properties")
            .and_then(|fields| fields.get(part))
            .or_else(|| self.additional())
            .or_else(|| self.items().filter(|_| part.parse::<usize>().is_ok()))?;
        Some(self.with(node))
    }

    /// Names of the fields of a table whose keys are fixed.
    pub fn fields(self) -> Vec<&'a str> {
        let fields = self.definition()["properties"].as_object();
        fields
            .into_iter()
            .flatten()
            .map(|(k, _)| k.as_str())
            .collect()
    }

    /// The schema of the values of a table whose names the user chooses.
    fn additional(self) -> Option<&'a Value> {
        self.definition()
            .get("additionalProperties")
            .filter(|it| it.is_object() || **it == Value::Bool(true))
    }

    /// The schema of the items of a list.
    fn items(self) -> Option<&'a Value> {
        self.definition().get("items")
    }

    /// Whether it holds neither keys nor items.
    fn is_plain(self) -> bool {
        let it = self.definition();
        it.get("properties").is_none() && self.additional().is_none() && self.items().is_none()
    }

    /// The definition behind a reference, which may be left out.
    fn definition(self) -> &'a Value {
        let node = self.node;
        let direct = node["$ref"].as_str();
        let optional = || {
            let choices = node["anyOf"].as_array()?;
            choices.iter().find_map(|it| it["$ref"].as_str())
        };
        direct
            .or_else(optional)
            .and_then(|name| name.strip_prefix("#/$defs/"))
            .and_then(|name| self.schema.as_value()["$defs"].get(name))
            .unwrap_or(node)
    }

    /// A part of this value, which inherits what is said of the whole.
    fn with(self, node: &'a Value) -> Entry<'a> {
        let inner = Entry { node, ..self };
        let marked = |name: &str, value: &Value| {
            node.get(name) == Some(value) || inner.definition().get(name) == Some(value)
        };
        Entry {
            secret: self.secret || marked("x-secret", &Value::Bool(true)),
            reboot: self.reboot || marked("x-applies", &Value::from("reboot")),
            ..inner
        }
    }

    fn collect(self, path: &Path, default: Option<&Value>, keys: &mut Vec<Key>) {
        let definition = self.definition();
        if let Some(fields) = definition["properties"].as_object() {
            for (name, node) in fields {
                let mut inner = path.clone();
                inner.push(name);
                let default = node.get("default").or_else(|| default?.get(name));
                self.with(node).collect(&inner, default, keys);
            }
            return;
        }
        for (node, placeholder) in [(self.additional(), NAME), (self.items(), INDEX)] {
            let Some(inner) = node.map(|node| self.with(node)) else {
                continue;
            };
            if inner.definition()["properties"].is_object() {
                let mut path = path.clone();
                path.push(placeholder);
                inner.collect(&path, None, keys);
                return;
            }
        }
        let named = self.additional().is_some();
        keys.push(Key {
            key: if named {
                path.join(NAME)
            } else {
                path.to_string()
            },
            kind: if named {
                self.additional()
                    .map_or_else(String::new, |node| self.with(node).kind())
            } else {
                self.kind()
            },
            default: default.filter(|_| !named).and_then(value::to_toml),
            text: self.text(),
            secret: self.secret,
            reboot: self.reboot,
        });
    }
}

#[cfg(test)]
mod tests;
