//! `user-data` and `meta-data`.

use serde_json::{Map, Value, json};

use super::found::{Found, MOST_ITEMS};
use super::yaml::{list, text, truth};
use super::{user, yaml};

/// What Rubus does anyway, or what says that nothing is to be done.
const DONE_ANYWAY: &[&str] = &[
    "manage_etc_hosts",
    "growpart",
    "resize_rootfs",
    "preserve_hostname",
    "prefer_fqdn_over_hostname",
    "create_hostname_file",
    "disable_root",
    "ssh_deletekeys",
    "apt_preserve_sources_list",
    "final_message",
];

/// Reads `user-data`; whether it names the node.
pub(super) fn read(found: &mut Found<'_>, content: &[u8]) -> bool {
    let first = content.split(|&b| b == b'\n').next().unwrap_or_default();
    let first = String::from_utf8_lossy(first);
    let first = first.trim().trim_start_matches('\u{feff}');
    for (start, what) in [
        ("#!", "a script"),
        ("Content-Type:", "a MIME archive"),
        ("MIME-Version:", "a MIME archive"),
        ("#include", "a list of addresses"),
        ("#cloud-boothook", "a boot hook"),
        ("## template:", "a template"),
        ("\u{1f}", "compressed"),
    ] {
        if first.starts_with(start) {
            found.unsupported("", &format!("this is {what}; write `#cloud-config`"));
            return false;
        }
    }
    let fields = match yaml::parse(content) {
        Ok(Value::Object(fields)) => fields,
        Ok(Value::Null) => return false,
        Ok(_) => {
            found.unsupported("", "it holds no keys; write `#cloud-config`");
            return false;
        }
        Err(message) => {
            found.unsupported("", &message);
            return false;
        }
    };
    if first != "#cloud-config" {
        found.note("its first line should be `#cloud-config`; it was read all the same");
    }
    hostname(found, &fields);
    for (key, value) in &fields {
        read_key(found, key, value);
    }
    // Last, so that it wins over the same said in the words of cloud-init.
    if let Some(own) = fields.get("rubus") {
        read_own(found, own);
    }
    found.has(&["hostname"])
}

fn read_key(found: &mut Found<'_>, key: &str, value: &Value) {
    match key {
        "hostname" | "fqdn" | "rubus" => {}
        "users" => user::read_all(found, value),
        "user" => match value {
            Value::String(name) if name == user::DEFAULT_USER => {}
            _ => found.unsupported(key, "write it under `users`"),
        },
        "ssh_authorized_keys" => user::read_keys(found, key, user::DEFAULT_USER, value),
        "chpasswd" => user::read_passwords(found, value),
        "password" => found.unsupported(key, user::PLAIN),
        "ssh_pwauth" => match truth(value) {
            Some(allowed) => {
                found.put(key, &["ssh", "password_authentication"], allowed.into());
            }
            None if *value == json!("unchanged") => {}
            None => found.unsupported(key, "write true or false"),
        },
        "enable_ssh" | "ssh_enabled" => {
            if truth(value) != Some(true) {
                found.unsupported(key, "the ssh server always runs");
            }
        }
        "timezone" => {
            found.put(key, &["timezone"], value.clone());
        }
        "ntp" => ntp(found, value),
        "write_files" => write_files(found, value),
        "runcmd" | "bootcmd" => {
            let commands: Vec<Value> = list(value).into_iter().map(command).collect();
            found.extend(key, &[key], &commands);
        }
        "rpi" => interfaces(found, value),
        "packages" => packages(found, value),
        "locale" | "keyboard" => {
            found.unsupported(
                key,
                "consoles speak English and have the keyboard of the US",
            );
        }
        "package_update" | "package_upgrade" | "package_reboot_if_required"
            if truth(value) == Some(false) => {}
        "package_update" | "package_upgrade" | "package_reboot_if_required" | "apt" => {
            found.unsupported(key, "the system is an image; a new one brings new packages");
        }
        "power_state" => found.unsupported(key, "no reboot is needed"),
        "network" => found.unsupported(key, "write it to `network-config`"),
        key if DONE_ANYWAY.contains(&key) => {}
        key => found.unsupported(key, "this is not supported"),
    }
}

/// `hostname`, or the first label of `fqdn`. Names of nodes have no domain.
fn hostname(found: &mut Found<'_>, fields: &Map<String, Value>) {
    for key in ["hostname", "fqdn"] {
        let Some(name) = fields.get(key).and_then(text) else {
            continue;
        };
        let (label, domain) = name.split_once('.').unwrap_or((&name, ""));
        if !domain.is_empty() {
            found.note(&format!(
                "`{key}`: the node is called {label:?}, without a domain"
            ));
        }
        if found.has(&["hostname"]) || found.put(key, &["hostname"], label.into()) {
            return;
        }
    }
}

/// Rubus's own settings: each table by itself, so that one mistake does not
/// cost the others.
fn read_own(found: &mut Found<'_>, own: &Value) {
    let Value::Object(fields) = own else {
        if !own.is_null() {
            found.unsupported("rubus", "this is no table");
        }
        return;
    };
    for (key, value) in fields {
        found.put(&format!("rubus.{key}"), &[key], value.clone());
    }
}

fn ntp(found: &mut Found<'_>, value: &Value) {
    let Value::Object(fields) = value else {
        return found.unsupported("ntp", "this is no table");
    };
    for (field, value) in fields {
        let key = format!("ntp.{field}");
        match field.as_str() {
            "servers" | "pools" | "peers" => {
                found.extend(&key, &["ntp", "servers"], &list(value));
            }
            "enabled" => match truth(value) {
                Some(enabled) => {
                    found.put(&key, &["services", "ntp"], enabled.into());
                }
                None => found.unsupported(&key, "write true or false"),
            },
            _ => found.unsupported(&key, "this is not supported"),
        }
    }
}

/// A command; numbers among its arguments are text.
fn command(value: Value) -> Value {
    match value {
        Value::Array(parts) => {
            let parts = parts
                .iter()
                .map(|it| text(it).map_or_else(|| it.clone(), Value::from));
            Value::Array(parts.collect())
        }
        other => other,
    }
}

fn write_files(found: &mut Found<'_>, value: &Value) {
    for (i, file) in list(value).iter().take(MOST_ITEMS).enumerate() {
        let Value::Object(fields) = file else {
            found.unsupported(&format!("write_files.{i}"), "this is no file");
            continue;
        };
        let mut taken = Map::new();
        let mut refused = false;
        for (field, value) in fields {
            let key = format!("write_files.{i}.{field}");
            let value = match field.as_str() {
                "path" | "owner" => value.clone(),
                "content" => Value::from(text(value).unwrap_or_default()),
                "append" => truth(value).map_or_else(|| value.clone(), Value::from),
                "permissions" => text(value).map_or(Value::Null, |mode| {
                    Value::from(mode.trim_start_matches("0o"))
                }),
                "encoding" => match encoding(&text(value).unwrap_or_default()) {
                    Some(encoding) => Value::from(encoding),
                    None => {
                        found.unsupported(&key, "use text, b64 or gz+b64");
                        refused = true;
                        continue;
                    }
                },
                "defer" => {
                    // Files are written when there are users.
                    continue;
                }
                "source" => {
                    found.unsupported(&key, "give the content itself");
                    refused = true;
                    continue;
                }
                _ => {
                    found.unsupported(&key, "this is not supported");
                    continue;
                }
            };
            taken.insert(field.clone(), value);
        }
        if !refused {
            let key = format!("write_files.{i}");
            found.extend(&key, &["write_files"], &[Value::Object(taken)]);
        }
    }
}

/// The names that cloud-init has for encodings.
fn encoding(name: &str) -> Option<&'static str> {
    match name {
        "" | "text/plain" | "text" => Some("text"),
        "b64" | "base64" => Some("b64"),
        "gz+b64" | "gzip+b64" | "gz+base64" | "gzip+base64" => Some("gz+b64"),
        _ => None,
    }
}

/// `rpi:`, of Raspberry Pi's own module for cloud-init.
fn interfaces(found: &mut Found<'_>, value: &Value) {
    let Value::Object(fields) = value else {
        return found.unsupported("rpi", "this is no table");
    };
    for (field, value) in fields {
        match (field.as_str(), value) {
            ("interfaces", Value::Object(interfaces)) => {
                for (name, value) in interfaces {
                    interface(found, name, value);
                }
            }
            (_, Value::Bool(false)) => {}
            (field, _) => found.unsupported(&format!("rpi.{field}"), "this is not supported"),
        }
    }
}

fn interface(found: &mut Found<'_>, name: &str, value: &Value) {
    let off = match value {
        Value::Bool(on) => !on,
        Value::Object(parts) => parts.values().all(|part| truth(part) == Some(false)),
        _ => false,
    };
    if !off {
        found.unsupported(
            &format!("rpi.interfaces.{name}"),
            "write its lines into config.txt of the slot",
        );
    }
}

fn packages(found: &mut Found<'_>, value: &Value) {
    let names: Vec<String> = list(value).iter().filter_map(text).collect();
    let mut missing = Vec::new();
    for name in names {
        match name.as_str() {
            // Raspberry Pi Imager asks for it with every host name.
            "avahi-daemon" => {
                found.note("`packages`: what avahi-daemon does, the service mdns does")
            }
            _ => missing.push(name),
        }
    }
    if !missing.is_empty() {
        let list = missing.join(", ");
        found.unsupported(
            "packages",
            &format!("packages are built into the image, or run as containers: {list}"),
        );
    }
}

/// Reads `meta-data`; the instance id, if it has one.
pub(super) fn read_meta_data(
    found: &mut Found<'_>,
    content: &[u8],
    has_name: bool,
) -> Option<String> {
    let fields = match yaml::parse(content) {
        Ok(Value::Object(fields)) => fields,
        Ok(Value::Null) => return None,
        Ok(_) => {
            found.unsupported("", "it holds no keys");
            return None;
        }
        Err(message) => {
            found.unsupported("", &message);
            return None;
        }
    };
    let mut instance = None;
    for (key, value) in &fields {
        match key.as_str() {
            "instance-id" | "instance_id" => {
                // It goes to logs and files.
                instance = text(value)
                    .map(|it| it.chars().filter(|c| !c.is_control()).take(128).collect())
                    .filter(|it: &String| !it.is_empty());
            }
            "local-hostname" | "hostname" if !has_name => {
                hostname(
                    found,
                    &Map::from_iter([("hostname".to_owned(), value.clone())]),
                );
            }
            "local-hostname" | "hostname" => {}
            "public-keys" | "public_keys" => {
                user::read_keys(found, key, user::DEFAULT_USER, value);
            }
            // Who made the instance, not what it is to do.
            "cloud-name" | "platform" | "dsmode" | "local-ipv4" | "seed" => {}
            key => found.unsupported(key, "this is not supported"),
        }
    }
    instance
}
