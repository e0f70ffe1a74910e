//! What a service sees of the settings: the keys that its `service.toml` names,
//! in a file that only its user reads.

use std::{fs, io, path::Path};

use serde_json::Value;

use crate::settings::Settings;

/// The name of the file, in a folder of its own that only this service sees.
pub const FILE: &str = "settings.json";

/// The part of `settings` that belongs to `keys` such as `ntp` or
/// `network.wifi`.
pub fn of(settings: &Value, keys: &[String]) -> Value {
    let mut view = Value::Object(serde_json::Map::new());
    for key in keys {
        let names: Vec<&str> = key.split('.').collect();
        let found = names
            .iter()
            .try_fold(settings, |value, name| value.get(name));
        if let Some(found) = found {
            insert(&mut view, &names, found.clone());
        }
    }
    view
}

fn insert(view: &mut Value, names: &[&str], value: Value) {
    match names {
        [] => *view = value,
        [name, rest @ ..] => {
            if !view.is_object() {
                *view = Value::Object(serde_json::Map::new());
            }
            insert(&mut view[*name], rest, value);
        }
    }
}

/// The settings that a service was given; all others, and all where none were
/// given, have their defaults.
///
/// # Errors
/// When the file cannot be read or understood.
pub fn read(path: &Path) -> Result<Settings, String> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Settings::default()),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    serde_json::from_slice(&text)
        .map_err(|error| format!("cannot understand {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_sees_what_it_names_and_nothing_else() {
        let settings = json!({
            "hostname": "node1",
            "ntp": { "servers": ["a"] },
            "network": { "wifi": { "country": "DE" }, "dns": ["1.1.1.1"] },
        });
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        for (named, seen) in [
            (keys(&[]), json!({})),
            (keys(&["ntp"]), json!({ "ntp": { "servers": ["a"] } })),
            (
                keys(&["network.wifi", "network.dns", "absent", "ntp.servers.x"]),
                json!({ "network": { "wifi": { "country": "DE" }, "dns": ["1.1.1.1"] } }),
            ),
            (
                keys(&["network.wifi.country", "network.wifi"]),
                json!({ "network": { "wifi": { "country": "DE" } } }),
            ),
        ] {
            assert_eq!(of(&settings, &named), seen);
        }
    }

    #[test]
    fn a_view_is_settings_again() {
        let view = of(
            &json!({ "ssh": { "port": 2022 }, "hostname": "x" }),
            &["ssh".to_owned()],
        );
        let settings: Settings = serde_json::from_value(view).unwrap();
        assert_eq!(settings.ssh.port.get(), 2022);
        assert_eq!(settings.hostname, None);
    }

    #[test]
    fn no_file_is_the_defaults_and_a_damaged_one_an_error() {
        let path = std::env::temp_dir().join(format!("view-{}", std::process::id()));
        assert_eq!(read(&path).unwrap(), Settings::default());
        fs::write(&path, "{").unwrap();
        assert!(read(&path).unwrap_err().starts_with("cannot understand "));
        fs::remove_file(&path).unwrap();
    }
}
