//! The pages in `docs/reference/`, made from the definitions in the code: a
//! page that no longer says what the code says fails the tests.
//! `UPDATE_REFERENCE=1 cargo test -p rubus reference` writes them anew.

use std::{collections::BTreeSet, env, fmt::Write, fs, path::Path};

use clap::CommandFactory;
use serde_json::Value;

use crate::{board::BoardFile, cli::Cli, config::Config};

#[test]
fn service_toml() {
    let schema = schemars::schema_for!(rubus_service::Service);
    let text = "\
# `service.toml`

Defines a system service; see [Services](../guide/services.md). An unknown key is an error.
A size is written as `\"64M\"` or `\"1G\"`, a duration as `\"500ms\"` or `\"10s\"`.
";
    check("service.toml.md", &keys(text, schema.as_value(), &["name"]));
}

#[test]
fn board_toml() {
    let schema = schemars::schema_for!(BoardFile);
    let text = "\
# `boards/NAME.toml`

Defines a board; see [Boards](../guide/boards.md). An unknown key is an error.
Modules are named by name, or by a path below `kernel/` without its ending. `*` stands for anything
within one name, `**` for any folders; alternatives are separated by `|`.
";
    check("board.toml.md", &keys(text, schema.as_value(), &[]));
}

#[test]
fn rubus_toml() {
    let schema = schemars::schema_for!(Config);
    let text = "\
# `rubus.toml`

What you change about an image; see [Building](../guide/building.md). Every key is optional, and an
unknown one is an error. Relative paths start at the folder of the file.
";
    check("rubus.toml.md", &keys(text, schema.as_value(), &[]));
}

#[test]
fn rubus_command() {
    let mut text = String::from("# `rubus`\n\nWhat `rubus help COMMAND` prints.\n");
    commands(&mut text, &Cli::command(), "rubus");
    check("rubus.md", &text);
}

/// The help of a command and of those below it.
fn commands(text: &mut String, command: &clap::Command, name: &str) {
    let mut page = command.clone().bin_name(name).term_width(90);
    let help = page.render_long_help().to_string();
    let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    write!(text, "\n## {name}\n```\n{}\n```\n", help.join("\n")).unwrap();
    for sub in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        commands(text, sub, &format!("{name} {}", sub.get_name()));
    }
}

/// Compares a page with what it should be.
fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/reference")
        .join(name);
    if env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "docs/reference/{name} is not what the code says; \
         run UPDATE_REFERENCE=1 cargo test -p rubus reference"
    );
}

/// A table of keys for a structure, then one for each structure in it.
fn keys(introduction: &str, schema: &Value, skip: &[&str]) -> String {
    let page = Page { schema, skip };
    let mut text = introduction.to_owned();
    let mut done = BTreeSet::new();
    page.table(&mut text, schema, "", &mut done);
    text
}

struct Page<'a> {
    schema: &'a Value,
    skip: &'a [&'a str],
}

impl<'a> Page<'a> {
    fn table(
        &self,
        text: &mut String,
        object: &'a Value,
        path: &str,
        done: &mut BTreeSet<&'a str>,
    ) {
        let Some(properties) = object["properties"].as_object() else {
            return;
        };
        text.push_str("\n| key | type | default | meaning |\n|---|---|---|---|\n");
        let required: Vec<&str> = object["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut inner = Vec::new();
        for (key, value) in properties {
            if path.is_empty() && self.skip.contains(&key.as_str()) {
                continue;
            }
            let default = match &value["default"] {
                _ if required.contains(&key.as_str()) => "required".to_owned(),
                Value::Null | Value::Object(_) => String::new(),
                Value::Array(list) if list.is_empty() => String::new(),
                Value::String(text) if text.is_empty() => String::new(),
                value => format!("`{value}`"),
            };
            writeln!(
                text,
                "| `{key}` | {} | {default} | {} |",
                self.kind(value),
                self.meaning(value)
            )
            .unwrap();
            if let Some((name, definition)) = self.structure(value) {
                inner.push((key, name, definition, is_list(value), is_map(value)));
            }
        }
        for (key, name, definition, list, map) in inner {
            if !done.insert(name) {
                continue;
            }
            let dot = if path.is_empty() { "" } else { "." };
            let path = format!("{path}{dot}{key}{}", if map { ".NAME" } else { "" });
            let title = if list {
                format!("[[{path}]]")
            } else {
                format!("[{path}]")
            };
            let about = line(definition);
            write!(text, "\n## `{title}`\n\n{about}\n").unwrap();
            self.table(text, definition, &path, done);
        }
    }

    /// What is written for a value.
    fn kind(&self, value: &Value) -> String {
        if let Some((name, definition)) = self.definition(value) {
            return if is_object(definition) {
                "table".to_owned()
            } else if let Some(choices) = choices(definition) {
                let names: Vec<String> = choices.map(|(name, _)| format!("`\"{name}\"`")).collect();
                names.join(", ")
            } else if name == "Period" {
                "duration".to_owned()
            } else {
                name.to_lowercase()
            };
        }
        let kind = match &value["type"] {
            Value::Array(kinds) => kinds[0].as_str(),
            kind => kind.as_str(),
        };
        match kind {
            Some("array") => format!("list of {}", plural(&self.kind(&value["items"]))),
            Some("object") => match self.kind(&value["additionalProperties"]).as_str() {
                "table" => "tables by name".to_owned(),
                kind => format!("table of {}", plural(kind)),
            },
            Some("integer") => "number".to_owned(),
            Some(kind) => kind.to_owned(),
            None => String::new(),
        }
    }

    /// The comment of a key, and what its choices mean.
    fn meaning(&self, value: &Value) -> String {
        let mut text = line(value);
        let choices = self.definition(value).and_then(|(_, it)| choices(it));
        for (name, about) in choices.into_iter().flatten() {
            write!(text, "<br>`\"{name}\"`: {about}").unwrap();
        }
        text
    }

    /// The structure that a key holds, one or many of.
    fn structure(&self, value: &'a Value) -> Option<(&'a str, &'a Value)> {
        [value, &value["items"], &value["additionalProperties"]]
            .into_iter()
            .find_map(|value| self.definition(value))
            .filter(|(_, definition)| is_object(definition))
    }

    fn definition(&self, value: &'a Value) -> Option<(&'a str, &'a Value)> {
        let name = reference(value)?;
        Some((name, &self.schema["$defs"][name]))
    }
}

/// Several of a kind.
fn plural(kind: &str) -> String {
    match kind.split_once(' ') {
        // The values of an enumeration.
        _ if kind.starts_with('`') => kind.to_owned(),
        Some((first, rest)) => format!("{first}s {rest}"),
        None => format!("{kind}s"),
    }
}

/// The name of the definition that a value refers to, which may be left out.
fn reference(value: &Value) -> Option<&str> {
    let direct = value["$ref"].as_str();
    let optional = || {
        value["anyOf"]
            .as_array()?
            .iter()
            .find_map(|it| it["$ref"].as_str())
    };
    direct.or_else(optional)?.strip_prefix("#/$defs/")
}

fn is_object(definition: &Value) -> bool {
    definition["type"] == "object"
}

fn is_list(value: &Value) -> bool {
    value["type"] == "array"
}

fn is_map(value: &Value) -> bool {
    value["additionalProperties"].is_object()
}

/// The values of an enumeration and what they mean.
fn choices(definition: &Value) -> Option<impl Iterator<Item = (&str, String)>> {
    let choices = definition["oneOf"].as_array()?;
    Some(
        choices
            .iter()
            .filter_map(|it| Some((it["const"].as_str()?, line(it)))),
    )
}

/// A comment as one line of a table.
fn line(value: &Value) -> String {
    let text = value["description"].as_str().unwrap_or_default();
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
