//! Users, as cloud-init's `users` module and Raspberry Pi OS write them.

use serde_json::{Map, Value, json};

use super::found::{Found, MOST_ITEMS};
use super::yaml::{list, text, truth};

/// The user that every node has; cloud-init's `default`.
pub(super) const DEFAULT_USER: &str = "rubus";
/// What becomes of a password that is not hashed.
pub(super) const PLAIN: &str =
    "a password in plain text is not taken; give its hash (`mkpasswd -m yescrypt`) as `passwd`";

/// `users:`
pub(super) fn read_all(found: &mut Found<'_>, value: &Value) {
    let users = list(value);
    if users.len() > MOST_ITEMS {
        found.unsupported("users", &format!("only the first {MOST_ITEMS} are taken"));
    }
    for (i, user) in users.iter().take(MOST_ITEMS).enumerate() {
        match user {
            // The node has this user anyway.
            Value::String(name) if name == "default" => {}
            Value::String(name) => {
                found.put(&format!("users.{i}"), &["users", name], json!({}));
            }
            Value::Object(fields) => read_one(found, i, fields),
            _ => found.unsupported(&format!("users.{i}"), "this is no user"),
        }
    }
}

fn read_one(found: &mut Found<'_>, i: usize, fields: &Map<String, Value>) {
    let Some(name) = fields.get("name").and_then(text) else {
        found.unsupported(&format!("users.{i}"), "it has no name");
        return;
    };
    if !found.put(&format!("users.{i}.name"), &["users", &name], json!({})) {
        return;
    }
    let key = |field: &str| format!("users.{i}.{field}");
    let user = |field| ["users", &name, field];
    // Old spellings have dashes.
    let get = |field: &str| {
        fields
            .get(field)
            .or_else(|| fields.get(&field.replace('_', "-")))
    };
    let locked = get("lock_passwd").and_then(truth).unwrap_or(true);
    let mut groups = Vec::new();
    for (field, value) in fields {
        match field.replace('-', "_").as_str() {
            "name" | "lock_passwd" | "sudo" => {}
            "ssh_authorized_keys" => {
                read_keys(found, &key("ssh_authorized_keys"), &name, value);
            }
            "passwd" | "hashed_passwd" if locked => found.unsupported(
                &key(field),
                "the password is locked unless `lock_passwd: false` is given",
            ),
            "passwd" | "hashed_passwd" => {
                found.put(&key(field), &user("password_hash"), value.clone());
            }
            "plain_text_passwd" => found.unsupported(&key(field), PLAIN),
            "groups" => {
                groups = names(value);
                let values: Vec<Value> = groups.iter().cloned().map(Value::from).collect();
                found.extend(&key(field), &user("groups"), &values);
            }
            "shell" => {
                found.put(&key(field), &user("shell"), value.clone());
            }
            // The home folder is where it always is.
            "homedir" if value.as_str() == Some(&format!("/home/{name}")) => {}
            // Empty or the default.
            "no_create_home" | "system" | "inactive" | "no_user_group" | "no_log_init"
                if truth(value) == Some(false) => {}
            "gecos" => found.note(&format!("`{}` is not kept", key(field))),
            _ => found.unsupported(&key(field), "this is not supported"),
        }
    }
    let sudo = match get("sudo") {
        Some(value) => read_sudo(found, &key("sudo"), value),
        None if groups
            .iter()
            .any(|it| it == "sudo" || it == "admin" || it == "wheel") =>
        {
            Some("with-password")
        }
        None => None,
    };
    if let Some(sudo) = sudo {
        found.put(&key("sudo"), &user("sudo"), Value::from(sudo));
    }
}

/// Keys of a user, one an item or one a line.
pub(super) fn read_keys(found: &mut Found<'_>, key: &str, user: &str, value: &Value) {
    let keys: Vec<Value> = list(value)
        .iter()
        .flat_map(|it| match it {
            Value::String(text) => text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(Value::from)
                .collect(),
            other => vec![other.clone()],
        })
        .collect();
    let path: &[&str] = if user == DEFAULT_USER {
        &["ssh", "authorized_keys"]
    } else {
        &["users", user, "ssh_authorized_keys"]
    };
    found.extend(key, path, &keys);
}

/// Rules of sudoers: all of them allow everything, or are not supported.
fn read_sudo(found: &mut Found<'_>, key: &str, value: &Value) -> Option<&'static str> {
    let rules = match value {
        Value::Null | Value::Bool(false) => return Some("no"),
        other => list(other),
    };
    let mut without_password = true;
    for rule in &rules {
        let rule = text(rule).unwrap_or_default();
        let rule: String = rule.split_whitespace().collect();
        match rule.strip_prefix("ALL=") {
            Some("(ALL)NOPASSWD:ALL" | "(ALL:ALL)NOPASSWD:ALL" | "NOPASSWD:ALL") => {}
            Some("(ALL)ALL" | "(ALL:ALL)ALL" | "ALL") => without_password = false,
            _ => {
                found.unsupported(key, "only rules that allow everything are supported");
                return None;
            }
        }
    }
    Some(if without_password {
        "without-password"
    } else {
        "with-password"
    })
}

/// Names, as a list or with commas between them.
fn names(value: &Value) -> Vec<String> {
    list(value)
        .iter()
        .filter_map(text)
        .flat_map(|text| {
            let names = text.split(',').map(str::trim).filter(|it| !it.is_empty());
            names.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

/// `chpasswd:`
pub(super) fn read_passwords(found: &mut Found<'_>, value: &Value) {
    let Value::Object(fields) = value else {
        found.unsupported("chpasswd", "this is no table");
        return;
    };
    for (field, value) in fields {
        let key = format!("chpasswd.{field}");
        match field.as_str() {
            "expire" if truth(value) == Some(false) => {}
            "expire" => found.unsupported(&key, "passwords do not expire; write `expire: false`"),
            "list" => {
                let lines = match value {
                    Value::String(text) => text.lines().map(Value::from).collect(),
                    other => list(other),
                };
                for line in lines.iter().take(MOST_ITEMS).filter_map(text) {
                    match line.trim().split_once(':') {
                        Some((name, password)) => set_password(found, &key, name, password),
                        None if line.trim().is_empty() => {}
                        None => found.unsupported(&key, "a line is not as in `name:hash`"),
                    }
                }
            }
            "users" => {
                for user in list(value).iter().take(MOST_ITEMS) {
                    let field = |name: &str| user.get(name).and_then(text);
                    let kind = field("type").unwrap_or_else(|| "hash".to_owned());
                    match (field("name"), field("password")) {
                        (Some(name), Some(password)) if kind == "hash" => {
                            set_password(found, &key, &name, &password);
                        }
                        (Some(_), Some(_)) if kind == "text" => found.unsupported(&key, PLAIN),
                        _ => found.unsupported(&key, "only hashes are supported"),
                    }
                }
            }
            _ => found.unsupported(&key, "this is not supported"),
        }
    }
}

fn set_password(found: &mut Found<'_>, key: &str, name: &str, password: &str) {
    if password.starts_with('$') {
        found.put(key, &["users", name, "password_hash"], password.into());
    } else {
        found.unsupported(key, PLAIN);
    }
}

/// `userconf.txt` of Raspberry Pi OS: one line, `name:hash`.
pub(super) fn read_userconf(found: &mut Found<'_>, content: &[u8]) {
    let line = std::str::from_utf8(content).unwrap_or_default().trim();
    match line.split_once(':') {
        Some((name, hash)) if !line.contains('\n') => {
            if found.put("", &["users", name, "password_hash"], hash.into()) {
                // The user that Raspberry Pi OS makes is an administrator.
                found.put("", &["users", name, "sudo"], "with-password".into());
            }
        }
        _ => found.unsupported("", "it is not one line as in `name:hash`"),
    }
}
