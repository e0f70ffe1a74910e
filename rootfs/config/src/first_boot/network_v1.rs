//! `network-config`, version 1.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use super::found::{Found, MOST_ITEMS};
use super::network::route;
use super::yaml::{list, text};

/// Reads the list of what is to be set up.
pub(super) fn read(found: &mut Found<'_>, network: &Value) {
    for (i, device) in list(&network["config"]).iter().take(MOST_ITEMS).enumerate() {
        let key = format!("config.{i}");
        match device["type"].as_str() {
            Some("physical" | "vlan") => interface(found, &key, device),
            Some("nameserver") => {
                found.extend(&key, &["network", "dns"], &list(&device["address"]));
                found.extend(&key, &["network", "search"], &list(&device["search"]));
            }
            Some("loopback") => {}
            Some(kind) => found.unsupported(&key, &format!("{kind:?} is not supported")),
            None => found.unsupported(&key, "it has no type"),
        }
    }
}

fn interface(found: &mut Found<'_>, key: &str, device: &Value) {
    let Some(name) = device.get("name").and_then(text) else {
        return found.unsupported(key, "it has no name");
    };
    let mut taken = Map::new();
    for (field, value) in device.as_object().into_iter().flatten() {
        let below = format!("{key}.{field}");
        match field.as_str() {
            "type" | "name" | "subnets" => {}
            "mtu" => {
                taken.insert("mtu".to_owned(), value.clone());
            }
            "vlan_id" | "vlan_link" => {
                let part = field.trim_start_matches("vlan_");
                let vlan = taken.entry("vlan").or_insert_with(|| json!({}));
                vlan[part] = value.clone();
            }
            "mac_address" => found.note(&format!(
                "`{below}`: interfaces are known by their names; {name:?} is taken"
            )),
            _ => found.unsupported(&below, "this is not supported"),
        }
    }
    for (i, subnet) in list(&device["subnets"]).iter().take(MOST_ITEMS).enumerate() {
        read_subnet(found, &format!("{key}.subnets.{i}"), subnet, &mut taken);
    }
    found.put(key, &["network", "interfaces", &name], Value::Object(taken));
}

fn read_subnet(found: &mut Found<'_>, key: &str, subnet: &Value, taken: &mut Map<String, Value>) {
    match subnet["type"].as_str() {
        Some("dhcp" | "dhcp4") => {
            taken.insert("dhcp".to_owned(), true.into());
        }
        Some("dhcp6" | "ipv6_dhcpv6-stateful" | "ipv6_dhcpv6-stateless" | "ipv6_slaac") => {
            taken.insert("ipv6".to_owned(), "auto".into());
        }
        Some("static" | "static6") => match address(subnet) {
            Some(address) => push(taken, "addresses", address.into()),
            None => found.unsupported(key, "it has no address with the length of its network"),
        },
        Some("manual") => {
            taken.entry("dhcp").or_insert(false.into());
        }
        _ => return found.unsupported(&format!("{key}.type"), "this is not supported"),
    }
    for (field, value) in subnet.as_object().into_iter().flatten() {
        match field.as_str() {
            "type" | "address" | "netmask" | "control" | "ipv4" | "ipv6" | "broadcast" => {}
            "gateway" => {
                let everywhere = json!({"to": "default", "via": value});
                route(found, &format!("{key}.gateway"), &everywhere, taken);
            }
            "dns_nameservers" => list(value)
                .into_iter()
                .for_each(|it| push(taken, "dns", it)),
            "dns_search" => list(value)
                .into_iter()
                .for_each(|it| push(taken, "search", it)),
            "routes" => {
                for (i, it) in list(value).iter().take(MOST_ITEMS).enumerate() {
                    let key = format!("{key}.routes.{i}");
                    let to = with_length(it.get("network").and_then(text), it);
                    let mut other = json!({"to": to, "via": it["gateway"]});
                    if let Some(metric) = it.get("metric") {
                        other["metric"] = metric.clone();
                    }
                    route(found, &key, &other, taken);
                }
            }
            _ => found.unsupported(&format!("{key}.{field}"), "this is not supported"),
        }
    }
}

fn push(taken: &mut Map<String, Value>, field: &str, value: Value) {
    match taken.entry(field).or_insert_with(|| json!([])) {
        Value::Array(list) => list.push(value),
        other => *other = json!([value]),
    }
}

fn address(subnet: &Value) -> Option<String> {
    with_length(subnet.get("address").and_then(text), subnet)
}

/// An address with the length of its network, which may be in a netmask.
fn with_length(address: Option<String>, beside: &Value) -> Option<String> {
    let address = address?;
    if address.contains('/') {
        return Some(address);
    }
    let mask = beside.get("netmask").and_then(text)?;
    let length = match mask.parse::<Ipv4Addr>() {
        Ok(mask) => {
            let bits = mask.to_bits();
            // A mask is ones and then zeros.
            if bits.leading_ones() + bits.trailing_zeros() != 32 {
                return None;
            }
            bits.leading_ones()
        }
        Err(_) => mask.parse().ok()?,
    };
    Some(format!("{address}/{length}"))
}
