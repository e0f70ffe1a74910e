//! What follows from a change of settings.

use std::collections::BTreeSet;

use rubus_service::Service;
use rubus_service::graph::Graph;
use serde_json::Value;

pub use crate::effects::Effects;
use crate::keys::{Path, Schema};

/// The keys that differ between two trees of settings.
pub fn changed(old: &Value, new: &Value) -> Vec<Path> {
    let mut keys = Vec::new();
    compare(&Path::default(), Some(old), Some(new), &mut keys);
    keys
}

fn compare(path: &Path, old: Option<&Value>, new: Option<&Value>, keys: &mut Vec<Path>) {
    if old == new {
        return;
    }
    let table = |value: Option<&Value>| match value {
        Some(Value::Object(table)) => Some(table.clone()),
        _ => None,
    };
    let (before, after) = (table(old), table(new));
    let names: BTreeSet<String> = [&before, &after]
        .into_iter()
        .flatten()
        .flat_map(|table| table.keys().cloned())
        .collect();
    if names.is_empty() {
        keys.push(path.clone());
        return;
    }
    for name in names {
        let mut path = path.clone();
        path.push(&name);
        let [old, new] = [&before, &after].map(|it| it.as_ref().and_then(|it| it.get(&name)));
        compare(&path, old, new, keys);
    }
}

/// What has to happen for keys to count. `services` are those of the node, `new`
/// the settings after the change.
pub fn effects(schema: &Schema, changed: &[Path], services: &[Service], new: &Value) -> Effects {
    let mut effects = Effects {
        changed: changed.iter().map(Path::to_string).collect(),
        ..Effects::default()
    };
    for path in changed {
        let entry = schema.find(&path.to_string());
        if entry.is_ok_and(|(_, entry)| entry.needs_reboot()) {
            effects.reboot.push(path.to_string());
        }
    }
    let enabled = |service: &Service| {
        let chosen = new["services"].get(&service.name).and_then(Value::as_bool);
        chosen.unwrap_or(service.enabled)
    };
    for service in in_start_order(services) {
        let switched = changed
            .iter()
            .any(|path| matches!(path.parts(), [first, name] if first == "services" && *name == service.name));
        if switched {
            if enabled(service) {
                effects.start.push(service.name.clone());
            } else {
                // What depends on others stops before them.
                effects.stop.insert(0, service.name.clone());
            }
        } else if enabled(service) && depends(service, changed) {
            if service.reload_signal.is_some() {
                effects.reload.push(service.name.clone());
            } else {
                effects.restart.push(service.name.clone());
            }
        }
    }
    effects
}

/// Whether a service names one of the keys, or a table that it is in.
fn depends(service: &Service, changed: &[Path]) -> bool {
    let keys = service
        .settings
        .iter()
        .filter_map(|it| Path::parse(it).ok());
    keys.into_iter().any(|key| {
        changed
            .iter()
            .any(|path| path.is_in(&key) || key.is_in(path))
    })
}

/// Each after those that it waits for. Services of a node have an order; should
/// they have none, that of their names is as good as any.
fn in_start_order(services: &[Service]) -> Vec<&Service> {
    // One that was added may wait for what the image no longer has.
    let known = |name: &&str| services.iter().any(|it| it.name == *name);
    let names = services.iter().map(|it| {
        let after = it.after.iter().map(String::as_str).filter(known);
        (it.name.as_str(), after)
    });
    let Ok(graph) = Graph::new(names) else {
        return services.iter().collect();
    };
    graph
        .start_order()
        .filter_map(|name| services.iter().find(|it| it.name == name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::check;
    use serde_json::json;

    fn service(name: &str, enabled: bool, after: &[&str], settings: &[&str]) -> Service {
        let text = format!(
            "description = \"d\"\nkind = \"daemon\"\ncommand = [\"c\"]\n\
             enabled = {enabled}\nafter = {after:?}\nsettings = {settings:?}\n"
        );
        Service::parse(name, "f", &text).unwrap()
    }

    fn services() -> Vec<Service> {
        vec![
            service("console", true, &["network"], &["ssh", "users"]),
            service("docker", true, &["network"], &["docker", "proxy"]),
            service("gateway", true, &["docker"], &["gateway", "proxy.http"]),
            service("nats", false, &[], &["proxy"]),
            service("network", true, &[], &["network", "hostname"]),
        ]
    }

    fn after(old: Value, new: Value) -> Effects {
        let schema = Schema::default();
        let tree = |said| serde_json::to_value(check(&schema, &said).unwrap()).unwrap();
        let (old, new) = (tree(old), tree(new));
        effects(&schema, &changed(&old, &new), &services(), &new)
    }

    #[test]
    fn nothing_follows_from_no_change() {
        let said = json!({"hostname": "a", "ssh": {"port": 23}});
        assert_eq!(after(said.clone(), said), Effects::default());
        let default = after(json!({}), json!({"ssh": {"port": 22}}));
        assert_eq!(default, Effects::default());
    }

    #[test]
    fn exactly_the_services_that_name_a_key_restart() {
        for (new, keys, restart) in [
            (
                json!({"ssh": {"port": 23}}),
                &["ssh.port"][..],
                &["console"][..],
            ),
            (json!({"hostname": "a"}), &["hostname"], &["network"]),
            (json!({"timezone": "Europe/Berlin"}), &["timezone"], &[]),
            (
                json!({"proxy": {"no_proxy": ["lan"]}}),
                &["proxy.no_proxy"],
                &["docker"],
            ),
            (
                json!({"proxy": {"http": "http://p:1"}}),
                &["proxy.http"],
                &["docker", "gateway"],
            ),
            (
                json!({"users": {"anna": {}}, "hostname": "a"}),
                &[
                    "hostname",
                    "users.anna.groups",
                    "users.anna.shell",
                    "users.anna.ssh_authorized_keys",
                ],
                &["network", "console"],
            ),
        ] {
            let effects = after(json!({}), new.clone());
            assert_eq!(effects.changed, keys, "{new}");
            assert_eq!(effects.restart, restart, "{new}");
            assert!(effects.start.is_empty() && effects.stop.is_empty());
            let back = after(new, json!({}));
            assert_eq!(
                (back.changed, back.restart),
                (effects.changed, effects.restart)
            );
        }
    }

    #[test]
    fn services_that_are_turned_on_or_off_start_and_stop_in_order() {
        let off = json!({"services": {"docker": false, "gateway": false, "nats": true}});
        let effects = after(json!({}), off.clone());
        assert_eq!(effects.stop, ["gateway", "docker"]);
        assert_eq!(effects.start, ["nats"]);
        let back = after(off, json!({}));
        assert_eq!(back.start, ["docker", "gateway"]);
        assert_eq!(back.stop, ["nats"]);
    }

    #[test]
    fn a_service_that_can_read_its_settings_anew_goes_on() {
        let mut services = services();
        services[0].reload_signal = Some("SIGHUP".to_owned());
        let schema = Schema::default();
        let new = json!({"ssh": {"port": 23}, "hostname": "a"});
        let new = serde_json::to_value(check(&schema, &new).unwrap()).unwrap();
        let old = serde_json::to_value(check(&schema, &json!({})).unwrap()).unwrap();
        let effects = effects(&schema, &changed(&old, &new), &services, &new);
        assert_eq!(effects.reload, ["console"]);
        assert_eq!(effects.restart, ["network"]);
    }

    #[test]
    fn a_service_that_is_off_does_not_restart() {
        let off = json!({"services": {"docker": false}});
        let mut proxy = off.clone();
        proxy["proxy"] = json!({"http": "http://p:1"});
        assert_eq!(after(off, proxy).restart, ["gateway"]);
    }

    #[test]
    fn keys_that_wait_for_a_boot_are_named() {
        let new = json!({"kernel": {"modules": ["loop"]}, "watchdog": {"timeout": 10}, "ssh": {"port": 23}});
        assert_eq!(
            after(json!({}), new).reboot,
            ["kernel.modules", "watchdog.timeout"]
        );
    }
}
