//! Showing settings without their secrets.

use serde_json::Value;

use crate::keys::{Entry, Path};

/// Stands for a secret that is not shown.
pub const HIDDEN: &str = "(hidden)";

/// Replaces the secrets in what a key holds.
pub fn hide(entry: Entry<'_>, value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        _ if entry.is_secret() => Value::from(HIDDEN),
        Value::Object(table) => Value::Object(
            table
                .iter()
                .map(|(name, value)| {
                    let shown = match entry.child(name) {
                        Some(inner) => hide(inner, value),
                        None => value.clone(),
                    };
                    (name.clone(), shown)
                })
                .collect(),
        ),
        Value::Array(list) => Value::Array(
            list.iter()
                .map(|value| match entry.child("0") {
                    Some(inner) => hide(inner, value),
                    None => value.clone(),
                })
                .collect(),
        ),
        other => other.clone(),
    }
}

/// The first key whose secret was not shown when the tree was exported.
pub fn hidden_in(tree: &Value) -> Option<Path> {
    fn search(value: &Value, path: &Path) -> Option<Path> {
        let below = |part: &str, value: &Value| {
            let mut path = path.clone();
            path.push(part);
            search(value, &path)
        };
        match value {
            Value::String(text) if text == HIDDEN => Some(path.clone()),
            Value::Object(table) => table.iter().find_map(|(name, value)| below(name, value)),
            Value::Array(list) => (0..)
                .zip(list)
                .find_map(|(i, value): (u32, _)| below(&i.to_string(), value)),
            _ => None,
        }
    }
    search(tree, &Path::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Schema;
    use serde_json::json;

    fn secrets() -> Value {
        json!({
            "users": {"anna": {"password_hash": "SECRET", "groups": ["docker"]}},
            "network": {"wifi": {"networks": {"home": {"password": "SECRET", "hidden": true}}}},
            "proxy": {"http": "SECRET", "no_proxy": ["lan"]},
            "write_files": [{"path": "/x", "content": "SECRET"}],
            "hostname": null,
        })
    }

    #[test]
    fn every_secret_is_hidden_and_nothing_else() {
        let schema = Schema::default();
        let shown = hide(schema.entry(), &secrets());
        assert!(!shown.to_string().contains("SECRET"), "{shown}");
        let expected = secrets().to_string().replace("SECRET", HIDDEN);
        assert_eq!(shown.to_string(), expected);
    }

    #[test]
    fn a_secret_that_is_asked_for_by_its_key_is_hidden_too() {
        let schema = Schema::default();
        let (_, entry) = schema.find("proxy.http").unwrap();
        assert_eq!(hide(entry, &json!("SECRET")), json!(HIDDEN));
    }

    #[test]
    fn what_was_hidden_is_found_again() {
        let schema = Schema::default();
        assert_eq!(hidden_in(&secrets()), None);
        let shown = hide(schema.entry(), &json!({"write_files": [{"content": "x"}]}));
        assert_eq!(
            hidden_in(&shown).unwrap().to_string(),
            "write_files.0.content"
        );
    }
}
