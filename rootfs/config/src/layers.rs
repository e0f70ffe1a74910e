//! Settings in layers: the defaults, what the image was built with, what the
//! first boot brought, what was set on the node. Later ones win: tables are
//! merged, everything else is replaced as a whole.

use serde_json::Value;
use serde_path_to_error::Segment;

use crate::document::{Document, Problem};
use crate::keys::{Path, Schema};
use crate::settings::Settings;

/// What layers come to.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The settings, with the defaults for what no layer says.
    pub settings: Settings,
    /// What the layers say, without the defaults.
    pub said: Value,
    /// Layers that were left out, and why.
    pub problems: Vec<Problem>,
}

impl Merged {
    /// All settings with their defaults, as a tree.
    ///
    /// # Errors
    /// When a value cannot be written as JSON.
    pub fn tree(&self) -> serde_json::Result<Value> {
        serde_json::to_value(&self.settings)
    }
}

/// Merges layers, the strongest last. One that is wrong, or that contradicts
/// those before it, is left out: the rest is still worth having.
pub fn merge<'a>(schema: &Schema, layers: impl IntoIterator<Item = &'a Document>) -> Merged {
    let nothing = Merged {
        settings: Settings::default(),
        said: Value::Object(serde_json::Map::new()),
        problems: Vec::new(),
    };
    merge_over(schema, nothing, layers)
}

/// Lays further layers over what others came to.
pub fn merge_over<'a>(
    schema: &Schema,
    mut merged: Merged,
    layers: impl IntoIterator<Item = &'a Document>,
) -> Merged {
    for layer in layers {
        let said = over(merged.said.clone(), &layer.value);
        // Checked by itself first, so that an error has the line.
        let mut outcome = check(schema, &layer.value);
        if said != layer.value {
            outcome = outcome.and_then(|_| check(schema, &said));
        }
        match outcome {
            Ok(settings) => {
                merged.settings = settings;
                merged.said = said;
            }
            Err((key, message)) => merged.problems.push(layer.problem(&key, message)),
        }
    }
    merged
}

/// Lays one tree over another.
pub fn over(below: Value, above: &Value) -> Value {
    match (below, above) {
        (Value::Object(mut below), Value::Object(above)) => {
            for (key, value) in above {
                let merged = match below.remove(key) {
                    Some(old) => over(old, value),
                    None => value.clone(),
                };
                below.insert(key.clone(), merged);
            }
            Value::Object(below)
        }
        (_, above) => above.clone(),
    }
}

/// Reads settings from a tree.
///
/// # Errors
/// The key that is wrong, and what is wrong with it.
pub fn check(schema: &Schema, tree: &Value) -> Result<Settings, (Path, String)> {
    let settings = read(tree);
    // Making the schema takes longer than all the rest. It is needed where
    // something is wrong, for it knows the nearest key, and for what only it
    // refuses: nothing in place of a value.
    if settings.is_err() || has_nothing(tree) {
        schema.entry().check(tree).map_err(|(parts, message)| {
            let mut path = Path::default();
            parts.iter().for_each(|part| path.push(part));
            (path, message)
        })?;
    }
    let settings = settings?;
    settings
        .check()
        .map_err(|(key, message)| (Path::parse(&key).unwrap_or_default(), message))?;
    Ok(settings)
}

/// Whether there is a null in a tree.
fn has_nothing(tree: &Value) -> bool {
    match tree {
        Value::Null => true,
        Value::Array(list) => list.iter().any(has_nothing),
        Value::Object(table) => table.values().any(has_nothing),
        _ => false,
    }
}

fn read(tree: &Value) -> Result<Settings, (Path, String)> {
    serde_path_to_error::deserialize(tree).map_err(|error| {
        let mut path = Path::default();
        for segment in error.path() {
            match segment {
                Segment::Map { key } => path.push(key),
                Segment::Seq { index } => path.push(&index.to_string()),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        (path, error.inner().to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(layers: &[&str]) -> Merged {
        let documents: Vec<Document> = layers
            .iter()
            .enumerate()
            .map(|(i, text)| Document::from_toml(&format!("layer{i}"), text).unwrap())
            .collect();
        merge(&Schema::default(), &documents)
    }

    fn problem(text: &str) -> String {
        let merged = merged(&[text]);
        assert_eq!(merged.settings, Settings::default());
        assert_eq!(merged.problems.len(), 1, "{text}");
        merged.problems[0].to_string()
    }

    #[test]
    fn tables_are_merged_and_everything_else_is_replaced() {
        let merged = merged(&[
            "hostname = \"a\"\nntp.servers = [\"x\", \"y\"]\n[users.anna]\ngroups = [\"docker\"]\n",
            "ntp.servers = [\"z\"]\n[users.anna]\nsudo = \"with-password\"\n[users.bob]\n",
            "hostname = \"b\"\n",
        ]);
        assert!(merged.problems.is_empty());
        assert_eq!(
            merged.said,
            json!({
                "hostname": "b",
                "ntp": {"servers": ["z"]},
                "users": {"anna": {"groups": ["docker"], "sudo": "with-password"}, "bob": {}},
            })
        );
        assert_eq!(merged.tree().unwrap()["ssh"]["port"], 22);
    }

    #[test]
    fn no_layers_are_the_defaults() {
        assert_eq!(merged(&[]).settings, Settings::default());
        assert_eq!(merged(&["", ""]).settings, Settings::default());
    }

    #[test]
    fn a_bad_layer_is_left_out_and_the_others_count() {
        let merged = merged(&[
            "hostname = \"a\"",
            "hostname = \"b\"\nssh.port = 0",
            "ssh.port = 23",
        ]);
        assert_eq!(merged.said, json!({"hostname": "a", "ssh": {"port": 23}}));
        assert_eq!(merged.problems[0].file, "layer1");
    }

    #[test]
    fn a_layer_that_contradicts_those_before_it_is_left_out() {
        let merged = merged(&[
            "[network.interfaces.eth0]\naddresses = [\"10.0.0.2/8\"]\ngateway4 = \"10.0.0.1\"",
            "[network.interfaces.eth0]\naddresses = [\"192.168.0.2/24\"]",
        ]);
        assert_eq!(
            merged.problems[0].to_string(),
            "layer1:1: `network.interfaces.eth0.gateway4`: \
             10.0.0.1 is in no network of `addresses`; correct one of them"
        );
        assert_eq!(
            merged.said["network"]["interfaces"]["eth0"]["addresses"][0],
            "10.0.0.2/8"
        );
    }

    #[test]
    fn a_problem_names_file_line_key_and_what_was_meant() {
        for (text, message) in [
            (
                "\nhostnam = \"x\"",
                "layer0:2: `hostnam`: there is no such key; did you mean `hostname`?",
            ),
            (
                "[ssh]\nprot = 1",
                "layer0:2: `ssh.prot`: there is no such key; did you mean `port`?",
            ),
            (
                "hostname = 5",
                "layer0:1: `hostname`: this is a number; give host name",
            ),
            (
                "hostname = \"a b\"",
                "layer0:1: `hostname`: \"a b\" is not a host name; use letters, digits and -, at most 63",
            ),
            (
                "ssh.port = 0",
                "layer0:1: `ssh.port`: 0 is out of range; use 1 to 65535",
            ),
            (
                "watchdog.timeout = 60",
                "layer0:1: `watchdog.timeout`: 60 is out of range; use 2 to 15",
            ),
            (
                "[users.anna]\nsudo = \"yes\"",
                "layer0:2: `users.anna.sudo`: \"yes\" is none of \"no\", \"with-password\", \"without-password\"",
            ),
            (
                "ssh.authorized_keys = [\n\"ssh-rsa AAAA\",\n\"hello\"]",
                "layer0:3: `ssh.authorized_keys.1`: \"hello\" is not a public ssh key; \
                 give one line as in \"ssh-ed25519 AAAA... you@home\"",
            ),
            ("ssh = 1", "layer0:1: `ssh`: this is a number; give table"),
            (
                "[[write_files]]\ncontent = \"x\"",
                "layer0:1: `write_files.0`: missing field `path`",
            ),
        ] {
            assert_eq!(problem(text), message);
        }
    }

    #[test]
    fn a_secret_is_not_repeated_in_a_problem() {
        for text in [
            "[network.wifi.networks.home]\npassword = \"hunter2\"",
            "[users.anna]\npassword_hash = \"hunter2\"",
            "proxy.http = \"hunter2\"",
        ] {
            assert!(!problem(text).contains("hunter2"), "{text}");
        }
    }
}
