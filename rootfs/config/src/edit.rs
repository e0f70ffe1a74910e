//! Changing what was set on the node: each change gives a new layer that was
//! checked as a whole, or an error and nothing else.

use serde_json::{Map, Value};

use crate::document::{Document, Problem};
use crate::keys::{KeyError, Path, Schema};
use crate::layers::{check, over};
use crate::secrets;
use crate::settings::Settings;

/// Settings that can be changed: those of the node, over those that came with
/// the image and the first boot.
#[derive(Clone, Debug)]
pub struct Editor<'a> {
    schema: &'a Schema,
    /// What the layers below say, without the defaults.
    below: Value,
    /// What was set on the node.
    layer: Value,
}

/// A change that can be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Edited {
    /// The layer of the node after it.
    pub layer: Value,
    /// All settings after it.
    pub settings: Settings,
}

/// Why a change cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// There is no such key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The value is wrong, for this key or together with others.
    #[error("`{key}`: {message}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong, and the way out.
        message: String,
    },
    /// There is nothing to take back.
    #[error("`{0}` is not set on this node; `ros config set` changes it")]
    NotSet(String),
    /// A file cannot be taken over.
    #[error(transparent)]
    Problem(#[from] Problem),
}

impl<'a> Editor<'a> {
    /// An editor of a layer over others.
    pub const fn new(schema: &'a Schema, below: Value, layer: Value) -> Self {
        Self {
            schema,
            below,
            layer,
        }
    }

    /// Sets a key to what the command line says; several values are a list.
    ///
    /// # Errors
    /// When the key does not exist or cannot have this value.
    pub fn set(&self, key: &str, values: &[String]) -> Result<Edited, EditError> {
        let (path, entry) = self.schema.find(key)?;
        let value = entry
            .parse_all(values)
            .map_err(|message| wrong(&path, message))?;
        let mut layer = self.layer.clone();
        let slot = self.slot(&mut layer, &path)?;
        *slot = value;
        self.finish(layer)
    }

    /// Takes back what was set on the node: the layers below count again. In a
    /// list that comes from below, the item is taken out of a copy.
    ///
    /// # Errors
    /// When nothing was set, or what remains is wrong.
    pub fn unset(&self, key: &str) -> Result<Edited, EditError> {
        let path = match self.schema.find(key) {
            Ok((path, _)) => path,
            // Another version of the system may have known the key.
            Err(error) => {
                let path = Path::parse(key).map_err(KeyError::from)?;
                if path.value_in(&self.layer).is_none() {
                    return Err(error.into());
                }
                path
            }
        };
        let not_set = || EditError::NotSet(path.to_string());
        let mut layer = self.layer.clone();
        let (last, parents) = path.parts().split_last().ok_or_else(not_set)?;
        let mut parent_path = Path::default();
        parents.iter().for_each(|part| parent_path.push(part));
        if let Some(Value::Array(list)) = parent_path.value_in(&self.said()) {
            let i: usize = last.parse().map_err(|_| not_set())?;
            if i >= list.len() {
                return Err(not_set());
            }
            if let Value::Array(list) = self.slot(&mut layer, &parent_path)? {
                list.remove(i);
            }
        } else if !remove(&mut layer, path.parts()) {
            return Err(not_set());
        }
        self.finish(layer)
    }

    /// Lays a file over what was set on the node.
    ///
    /// # Errors
    /// When the file is wrong, or has secrets that were hidden when it was
    /// exported.
    pub fn merge(&self, document: &Document) -> Result<Edited, EditError> {
        if let Some(path) = secrets::hidden_in(&document.value) {
            let message = "its value was hidden; export it with `--private`, or remove this line";
            return Err(document.problem(&path, message.to_owned()).into());
        }
        check(self.schema, &document.value)
            .map_err(|(path, message)| document.problem(&path, message))?;
        self.finish(over(self.layer.clone(), &document.value))
    }

    /// Replaces everything that was set on the node.
    ///
    /// # Errors
    /// When the new layer is wrong.
    pub fn replace(&self, layer: Value) -> Result<Edited, EditError> {
        self.finish(layer)
    }

    /// What all layers say, without the defaults.
    fn said(&self) -> Value {
        over(self.below.clone(), &self.layer)
    }

    fn finish(&self, layer: Value) -> Result<Edited, EditError> {
        if let Some(path) = secrets::hidden_in(&layer) {
            return Err(wrong(&path, "give the value itself".to_owned()));
        }
        let settings = check(self.schema, &over(self.below.clone(), &layer))
            .map_err(|(path, message)| wrong(&path, message))?;
        Ok(Edited { layer, settings })
    }

    /// The place of a key in the layer, made where it is missing. A list comes
    /// into the layer as a whole, for a list replaces the one below.
    fn slot<'v>(&self, layer: &'v mut Value, path: &Path) -> Result<&'v mut Value, EditError> {
        let said = self.said();
        let mut node = layer;
        let mut here = Path::default();
        for part in path.parts() {
            let below = here.value_in(&said);
            let is_list = self
                .schema
                .find(&here.to_string())
                .is_ok_and(|(_, entry)| entry.is_list());
            if is_list && !node.is_array() {
                *node = below.cloned().unwrap_or_else(|| Value::Array(Vec::new()));
            }
            here.push(part);
            node = match node {
                Value::Array(list) => {
                    let i: usize = part.parse().unwrap_or(usize::MAX);
                    let length = list.len();
                    // The place behind the last one appends.
                    if i == length {
                        list.push(Value::Null);
                    }
                    list.get_mut(i).ok_or_else(|| {
                        wrong(
                            &here,
                            format!("the list has {length} items; add at {length}"),
                        )
                    })?
                }
                other => {
                    if !other.is_object() {
                        *other = Value::Object(Map::new());
                    }
                    let Value::Object(table) = other else {
                        return Err(wrong(&here, "this is no table".to_owned()));
                    };
                    table.entry(part.clone()).or_insert(Value::Null)
                }
            };
        }
        // To take out an item, the list itself is asked for.
        let is_list = self
            .schema
            .find(&path.to_string())
            .is_ok_and(|(_, entry)| entry.is_list());
        if is_list && !node.is_array() {
            *node = path
                .value_in(&said)
                .cloned()
                .unwrap_or_else(|| Value::Array(Vec::new()));
        }
        Ok(node)
    }
}

fn wrong(path: &Path, message: String) -> EditError {
    EditError::Value {
        key: path.to_string(),
        message,
    }
}

/// Removes a key, and the tables that are empty then. Whether it was there.
fn remove(tree: &mut Value, parts: &[String]) -> bool {
    let (Value::Object(table), Some((first, rest))) = (tree, parts.split_first()) else {
        return false;
    };
    if rest.is_empty() {
        return table.remove(first).is_some();
    }
    let Some(inner) = table.get_mut(first) else {
        return false;
    };
    let removed = remove(inner, rest);
    if removed && inner.as_object().is_some_and(Map::is_empty) {
        table.remove(first);
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KEY: &str = "ssh-ed25519 AAAA";

    fn set(below: Value, layer: Value, key: &str, values: &[&str]) -> Result<Value, String> {
        let schema = Schema::default();
        let values: Vec<String> = values.iter().map(|it| (*it).to_owned()).collect();
        let edited = Editor::new(&schema, below, layer).set(key, &values);
        edited.map(|it| it.layer).map_err(|e| e.to_string())
    }

    fn unset(below: Value, layer: Value, key: &str) -> Result<Value, String> {
        let schema = Schema::default();
        let edited = Editor::new(&schema, below, layer).unset(key);
        edited.map(|it| it.layer).map_err(|e| e.to_string())
    }

    #[test]
    fn a_value_is_set_in_the_layer_of_the_node() {
        for (layer, key, values, expected) in [
            (json!({}), "hostname", &["a"][..], json!({"hostname": "a"})),
            (
                json!({"hostname": "a"}),
                "hostname",
                &["b"],
                json!({"hostname": "b"}),
            ),
            (json!({}), "ssh.port", &["23"], json!({"ssh": {"port": 23}})),
            (
                json!({"ssh": {"port": 23}}),
                "ssh.authorized_keys",
                &[KEY, KEY],
                json!({"ssh": {"port": 23, "authorized_keys": [KEY, KEY]}}),
            ),
            (
                json!({}),
                "kernel.sysctl.vm.swappiness",
                &["10"],
                json!({"kernel": {"sysctl": {"vm.swappiness": "10"}}}),
            ),
            (
                json!({}),
                "users.anna",
                &["{}"],
                json!({"users": {"anna": {}}}),
            ),
        ] {
            assert_eq!(set(json!({}), layer, key, values), Ok(expected), "{key}");
        }
    }

    #[test]
    fn an_item_of_a_list_is_set_in_a_copy_of_the_whole_list() {
        let below = json!({"ntp": {"servers": ["a", "b"]}});
        let changed = set(below.clone(), json!({}), "ntp.servers.1", &["c"]);
        assert_eq!(changed, Ok(json!({"ntp": {"servers": ["a", "c"]}})));
        let added = set(below.clone(), json!({}), "ntp.servers.2", &["c"]);
        assert_eq!(added, Ok(json!({"ntp": {"servers": ["a", "b", "c"]}})));
        let error = set(below.clone(), json!({}), "ntp.servers.4", &["c"]).unwrap_err();
        assert!(error.contains("has 2 items"), "{error}");
        let removed = unset(below, json!({}), "ntp.servers.0");
        assert_eq!(removed, Ok(json!({"ntp": {"servers": ["b"]}})));
    }

    #[test]
    fn a_wrong_change_is_refused_with_its_key() {
        for (key, value, words) in [
            ("hostnam", "a", "did you mean `hostname`?"),
            ("hostname", "a b", "`hostname`: \"a b\" is not a host name"),
            ("ssh.port", "0", "`ssh.port`: 0 is out of range"),
            ("ssh.port", "x", "`ssh.port`: \"x\" is not a number"),
            ("users.Anna.sudo", "no", "not a user name"),
            ("network.interfaces.eth0.gateway6", "x", "gateway6"),
            ("users.anna.password_hash", "(hidden)", "the value itself"),
            ("docker.daemon.hosts", "(hidden)", "the value itself"),
        ] {
            let error = set(json!({}), json!({}), key, &[value]).expect_err(key);
            assert!(error.contains(words), "{key}: {error}");
        }
    }

    #[test]
    fn a_change_that_contradicts_other_layers_is_refused() {
        let below = json!({"network": {"interfaces": {"eth0": {
            "addresses": ["10.0.0.2/8"], "gateway4": "10.0.0.1"}}}});
        let error = set(
            below,
            json!({}),
            "network.interfaces.eth0.addresses",
            &["192.168.0.2/24"],
        );
        assert!(error.unwrap_err().contains("gateway4"));
    }

    #[test]
    fn what_was_set_is_taken_back_with_the_tables_around_it() {
        let layer = json!({"hostname": "a", "users": {"anna": {"sudo": "no"}}});
        assert_eq!(
            unset(json!({}), layer.clone(), "users.anna.sudo"),
            Ok(json!({"hostname": "a"}))
        );
        assert_eq!(
            unset(json!({}), layer.clone(), "users"),
            Ok(json!({"hostname": "a"}))
        );
        for key in ["ssh.port", "users.bob", ""] {
            let error = unset(json!({}), layer.clone(), key).unwrap_err();
            assert!(error.contains("is not set on this node"), "{error}");
        }
        let below = json!({"ssh": {"port": 23}});
        assert!(unset(below, json!({}), "ssh.port").is_err());
    }

    #[test]
    fn a_key_that_no_longer_exists_can_be_taken_back() {
        let layer = json!({"hostname": "a", "gone": {"key": 1}});
        assert_eq!(
            unset(json!({}), layer, "gone.key"),
            Ok(json!({"hostname": "a"}))
        );
        assert!(unset(json!({}), json!({}), "gone.key").is_err());
    }

    #[test]
    fn a_file_is_merged_or_refused_with_its_line() {
        let schema = Schema::default();
        let editor = Editor::new(&schema, json!({}), json!({"hostname": "a"}));
        let merge = |text: &str| editor.merge(&Document::from_toml("f", text).unwrap());
        assert_eq!(
            merge("[ssh]\nport = 23\n").unwrap().layer,
            json!({"hostname": "a", "ssh": {"port": 23}})
        );
        let error = merge("[ssh]\nprot = 23\n").unwrap_err().to_string();
        assert!(error.starts_with("f:2: `ssh.prot`"), "{error}");
        let error = merge("[users.a]\npassword_hash = \"(hidden)\"\n").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("f:2: `users.a.password_hash`: its value was hidden")
        );
    }
}
