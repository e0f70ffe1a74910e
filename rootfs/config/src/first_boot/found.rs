//! Gathers what the files of a first boot bring, value by value.

use serde_json::{Map, Value};

use crate::keys::{Path, Schema};
use crate::layers::{check, over};

/// How many messages are kept of one kind; a person reads no more.
const MOST_MESSAGES: usize = 100;
/// How long a message may be, in characters.
const LONGEST_MESSAGE: usize = 300;
/// How many users, files, commands or interfaces are taken.
pub(super) const MOST_ITEMS: usize = 256;

/// What was found so far.
pub(super) struct Found<'a> {
    schema: &'a Schema,
    settings: Value,
    notes: Vec<String>,
    unsupported: Vec<String>,
    file: String,
}

impl<'a> Found<'a> {
    pub(super) fn new(schema: &'a Schema) -> Self {
        Self {
            schema,
            settings: Value::Object(Map::new()),
            notes: Vec::new(),
            unsupported: Vec::new(),
            file: String::new(),
        }
    }

    /// Names the file that is read next.
    pub(super) fn file(&mut self, name: &str) {
        name.clone_into(&mut self.file);
    }

    /// Takes a value for a setting, or tells why not. `key` is what the file
    /// calls it.
    pub(super) fn put(&mut self, key: &str, path: &[&str], value: Value) -> bool {
        let layer = path.iter().rev().fold(value, |value, part| {
            Value::Object(Map::from_iter([((*part).to_owned(), value)]))
        });
        self.lay_over(key, &layer)
    }

    /// Takes a tree of settings, or tells why not.
    pub(super) fn lay_over(&mut self, key: &str, layer: &Value) -> bool {
        let settings = over(self.settings.clone(), layer);
        match check(self.schema, &settings) {
            Ok(_) => {
                self.settings = settings;
                true
            }
            Err((path, message)) => {
                let where_in = match path.parts().last() {
                    Some(last) if !key.ends_with(last.as_str()) => format!(" (`{path}`)"),
                    _ => String::new(),
                };
                self.unsupported(key, &format!("{message}{where_in}"));
                false
            }
        }
    }

    /// Adds items to a list of settings; each is taken or named by itself.
    pub(super) fn extend(&mut self, key: &str, path: &[&str], items: &[Value]) {
        if items.len() > MOST_ITEMS {
            self.unsupported(key, &format!("only the first {MOST_ITEMS} are taken"));
        }
        for (i, item) in items.iter().take(MOST_ITEMS).enumerate() {
            let mut whole = Path::default();
            path.iter().for_each(|part| whole.push(part));
            let mut list = match whole.value_in(&self.settings) {
                Some(Value::Array(list)) => list.clone(),
                _ => Vec::new(),
            };
            if !list.contains(item) {
                list.push(item.clone());
                let key = match items.len() {
                    1 => key.to_owned(),
                    _ => format!("{key}.{i}"),
                };
                self.put(&key, path, Value::Array(list));
            }
        }
    }

    /// Whether a setting was found.
    pub(super) fn has(&self, path: &[&str]) -> bool {
        let mut whole = Path::default();
        path.iter().for_each(|part| whole.push(part));
        whole.value_in(&self.settings).is_some()
    }

    /// Names something that is not done, and says what to do instead.
    pub(super) fn unsupported(&mut self, key: &str, why: &str) {
        let line = self.line(key, why);
        add(&mut self.unsupported, line);
    }

    /// Tells something worth knowing.
    pub(super) fn note(&mut self, text: &str) {
        let line = self.line("", text);
        add(&mut self.notes, line);
    }

    /// The settings, the notes, and what is not supported.
    pub(super) fn finish(self) -> (Value, Vec<String>, Vec<String>) {
        (self.settings, self.notes, self.unsupported)
    }

    fn line(&self, key: &str, text: &str) -> String {
        let file = &self.file;
        let line = match key {
            "" => format!("{file}: {text}"),
            key => format!("{file}: `{key}`: {text}"),
        };
        // Text of a file ends up on terminals and in TOML.
        line.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(LONGEST_MESSAGE)
            .collect()
    }
}

fn add(lines: &mut Vec<String>, line: String) {
    if lines.len() < MOST_MESSAGES && !lines.contains(&line) {
        lines.push(line);
    } else if lines.len() == MOST_MESSAGES {
        lines.push("... and more of the kind".to_owned());
    }
}
