//! `network-config`: which version, and version 2 (netplan).

use serde_json::{Map, Value, json};

use super::found::{Found, MOST_ITEMS};
use super::network_v1;
use super::yaml::{self, list, text, truth};

/// Reads `network-config`.
pub(super) fn read(found: &mut Found<'_>, content: &[u8]) {
    let whole = match yaml::parse(content) {
        Ok(Value::Null) => return,
        Ok(whole) => whole,
        Err(message) => return found.unsupported("", &message),
    };
    let network = whole.get("network").unwrap_or(&whole);
    if network.get("config") == Some(&json!("disabled")) {
        return found.unsupported(
            "config",
            "the network is always set up; name the interfaces",
        );
    }
    match network.get("version").and_then(Value::as_u64) {
        Some(1) => network_v1::read(found, network),
        Some(2) => read_v2(found, network),
        _ => found.unsupported("version", "write 1 or 2"),
    }
}

fn read_v2(found: &mut Found<'_>, network: &Value) {
    let Value::Object(fields) = network else {
        return;
    };
    for (kind, interfaces) in fields {
        match kind.as_str() {
            "version" | "renderer" => {}
            "ethernets" | "wifis" | "vlans" => {
                let Value::Object(interfaces) = interfaces else {
                    found.unsupported(kind, "this is no table");
                    continue;
                };
                for (name, value) in interfaces.iter().take(MOST_ITEMS) {
                    let key = format!("{kind}.{name}");
                    match value {
                        Value::Object(fields) => interface(found, &key, name, fields),
                        Value::Null => {}
                        _ => found.unsupported(&key, "this is no table"),
                    }
                }
            }
            _ => found.unsupported(kind, "this is not supported"),
        }
    }
}

fn interface(found: &mut Found<'_>, key: &str, id: &str, fields: &Map<String, Value>) {
    let below = |field: &str| format!("{key}.{field}");
    let mut taken = Map::new();
    let mut routes = Vec::new();
    let mut vlan = Map::new();
    let mut said = Vec::new();
    for (field, value) in fields {
        match field.as_str() {
            "match" | "set-name" | "optional" | "critical" | "renderer" => {}
            "dhcp4" => {
                taken.insert("dhcp".to_owned(), value.clone());
            }
            "dhcp6" => {
                if truth(value) == Some(true) {
                    found.note(&format!(
                        "`{}`: IPv6 addresses come from routers, not by DHCP",
                        below(field)
                    ));
                }
            }
            "accept-ra" => {
                let ipv6 = if truth(value) == Some(false) {
                    "manual"
                } else {
                    "auto"
                };
                taken.insert("ipv6".to_owned(), ipv6.into());
            }
            "addresses" => {
                // An address may have options: `10.0.0.1/8: { label: x }`.
                let plain = list(value).into_iter().map(|it| match &it {
                    Value::Object(one) => one.keys().next().map_or(Value::Null, |k| json!(k)),
                    _ => it,
                });
                taken.insert("addresses".to_owned(), plain.collect());
            }
            "gateway4" | "gateway6" | "mtu" => {
                taken.insert(field.clone(), value.clone());
            }
            "nameservers" => {
                for (from, to) in [("addresses", "dns"), ("search", "search")] {
                    if let Some(value) = value.get(from) {
                        taken.insert(to.to_owned(), Value::Array(list(value)));
                    }
                }
            }
            "routes" => routes = list(value),
            "id" | "link" => {
                vlan.insert(field.clone(), value.clone());
            }
            "regulatory-domain" => {
                found.put(
                    &below(field),
                    &["network", "wifi", "country"],
                    value.clone(),
                );
            }
            "access-points" => access_points(found, &below(field), value),
            _ => said.push(below(field)),
        }
    }
    for field in said {
        found.unsupported(&field, "this is not supported");
    }
    if !vlan.is_empty() {
        taken.insert("vlan".to_owned(), Value::Object(vlan));
    }
    for (i, it) in routes.iter().take(MOST_ITEMS).enumerate() {
        route(found, &format!("{key}.routes.{i}"), it, &mut taken);
    }
    let Some(name) = name(found, key, id, fields, &taken) else {
        return;
    };
    // As a whole: a router and the network that it is in belong together.
    found.put(key, &["network", "interfaces", &name], Value::Object(taken));
}

/// The name of the interface; none when it cannot be told here.
fn name(
    found: &mut Found<'_>,
    key: &str,
    id: &str,
    fields: &Map<String, Value>,
    taken: &Map<String, Value>,
) -> Option<String> {
    let Some(wanted) = fields.get("match") else {
        return Some(id.to_owned());
    };
    if let Some(name) = wanted.get("name").and_then(text)
        && !name.contains(['*', '?', '['])
    {
        return Some(name);
    }
    let is_default = taken
        .iter()
        .all(|(field, value)| field == "dhcp" && truth(value) == Some(true));
    if !is_default {
        found.unsupported(
            &format!("{key}.match"),
            "interfaces are known by their names; name one, such as eth0",
        );
    }
    None
}

/// Adds a route; one to everywhere is the gateway.
pub(super) fn route(
    found: &mut Found<'_>,
    key: &str,
    route: &Value,
    interface: &mut Map<String, Value>,
) {
    let (Some(to), Some(via)) = (
        route.get("to").and_then(text),
        route.get("via").and_then(text),
    ) else {
        return found.unsupported(key, "a route has `to` and `via`");
    };
    if to == "default" || to == "0.0.0.0/0" || to == "::/0" {
        let gateway = if via.contains(':') {
            "gateway6"
        } else {
            "gateway4"
        };
        interface.insert(gateway.to_owned(), via.into());
        return;
    }
    let mut taken = json!({"to": to, "via": via});
    if let Some(metric) = route.get("metric") {
        taken["metric"] = metric.clone();
    }
    match interface.entry("routes").or_insert_with(|| json!([])) {
        Value::Array(routes) => routes.push(taken),
        other => *other = json!([taken]),
    }
}

fn access_points(found: &mut Found<'_>, key: &str, value: &Value) {
    let Value::Object(points) = value else {
        return found.unsupported(key, "this is no table");
    };
    for (ssid, point) in points.iter().take(MOST_ITEMS) {
        let key = format!("{key}.{ssid}");
        let mut taken = Map::new();
        let fields = point.as_object().cloned().unwrap_or_default();
        let mut supported = true;
        for (field, value) in &fields {
            let key = format!("{key}.{field}");
            match field.as_str() {
                "password" => password(value, &mut taken),
                "hidden" => {
                    taken.insert("hidden".to_owned(), value.clone());
                }
                "mode" if *value == json!("infrastructure") => {}
                "auth" => {
                    let kind = value.get("key-management").and_then(text);
                    match kind.as_deref() {
                        None | Some("psk" | "sae" | "none") => {
                            password(&value["password"], &mut taken);
                        }
                        Some(_) => {
                            found.unsupported(&key, "only networks with a password are supported");
                            supported = false;
                        }
                    }
                }
                _ => found.unsupported(&key, "this is not supported"),
            }
        }
        if supported {
            found.put(
                &key,
                &["network", "wifi", "networks", ssid],
                Value::Object(taken),
            );
        }
    }
}

/// An empty password is an open network.
fn password(value: &Value, taken: &mut Map<String, Value>) {
    if let Some(password) = text(value).filter(|it| !it.is_empty()) {
        taken.insert("password".to_owned(), password.into());
    }
}
