//! What dockerd is told: the image's `daemon.json`, and over it the settings.

use rubus_config::{
    paths,
    settings::{Docker, Proxy},
};
use serde_json::{Map, Value, json};

/// Keys of `daemon.json` that the rest of the system relies on.
const FIXED: [&str; 11] = [
    "containerd",
    "data-root",
    "exec-opts",
    "exec-root",
    "group",
    "hosts",
    "tls",
    "tlscacert",
    "tlscert",
    "tlskey",
    "tlsverify",
];

/// The content of dockerd's configuration, and what was left out of it as
/// messages. `certificates` tells whether there are any: without them nobody is
/// let in over the network.
pub(crate) fn configuration(
    image: Map<String, Value>,
    docker: &Docker,
    certificates: bool,
) -> (Map<String, Value>, Vec<String>) {
    let mut merged = image;
    let mut refused = Vec::new();
    merged.insert(
        "log-opts".to_owned(),
        json!({
            "max-size": docker.log_max_size.as_str(),
            "max-file": docker.log_max_files.get().to_string(),
        }),
    );
    let lists = [
        (
            "registry-mirrors",
            texts(docker.registry_mirrors.iter().map(|it| it.as_str())),
        ),
        (
            "insecure-registries",
            texts(docker.insecure_registries.iter().map(|it| it.as_str())),
        ),
    ];
    for (key, list) in lists {
        if list != json!([]) {
            merged.insert(key.to_owned(), list);
        }
    }
    for (key, value) in &docker.daemon {
        if FIXED.contains(&key.as_str()) {
            refused.push(format!(
                "docker.daemon.{key} is left out: Rubus relies on its own; remove it"
            ));
        } else {
            merged.insert(key.clone(), value.clone());
        }
    }
    match (docker.tcp, certificates) {
        (true, true) => over_network(&mut merged),
        (true, false) => refused.push(
            "docker.tcp has no effect: there are no certificates; make them with `ros tls generate`"
                .to_owned(),
        ),
        (false, _) => {}
    }
    (merged, refused)
}

/// Has dockerd listen to clients with certificates.
fn over_network(merged: &mut Map<String, Value>) {
    // All of IPv4: an address of a network that is not there yet, or of IPv6
    // where that is off, would keep the engine from starting.
    let address = format!("tcp://0.0.0.0:{}", paths::ENGINE_TCP_PORT);
    if let Some(Value::Array(hosts)) = merged.get_mut("hosts") {
        hosts.push(address.into());
    }
    for (key, value) in [
        ("tlsverify", Value::Bool(true)),
        ("tlscacert", paths::TLS_AUTHORITY.into()),
        ("tlscert", paths::TLS_ENGINE.into()),
        ("tlskey", paths::TLS_ENGINE.into()),
    ] {
        merged.insert(key.to_owned(), value);
    }
}

fn texts<'a>(list: impl Iterator<Item = &'a str>) -> Value {
    list.map(Value::from).collect()
}

/// The variables that tell the engine of a proxy.
pub(crate) fn environment(proxy: &Proxy) -> Vec<(&'static str, String)> {
    let mut variables = Vec::new();
    if let Some(address) = &proxy.http {
        variables.push(("HTTP_PROXY", address.as_str().to_owned()));
    }
    if let Some(address) = &proxy.https {
        variables.push(("HTTPS_PROXY", address.as_str().to_owned()));
    }
    if !proxy.no_proxy.is_empty() {
        let hosts: Vec<&str> = proxy.no_proxy.iter().map(|it| it.as_str()).collect();
        variables.push(("NO_PROXY", hosts.join(",")));
    }
    variables
}

#[cfg(test)]
mod tests {
    use rubus_config::settings::Settings;

    use super::*;

    fn of_image() -> Map<String, Value> {
        let Value::Object(image) = json!({ "hosts": ["unix:///x"], "log-driver": "local" }) else {
            unreachable!()
        };
        image
    }

    fn of(settings: Value) -> (Map<String, Value>, Vec<String>) {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        configuration(of_image(), &settings.docker, true)
    }

    #[test]
    fn over_the_network_only_clients_with_certificates_are_let_in() {
        let on = json!({ "docker": { "tcp": true } });
        let (merged, refused) = of(on.clone());
        assert_eq!(merged["hosts"], json!(["unix:///x", "tcp://0.0.0.0:2376"]));
        assert_eq!(merged["tlsverify"], true);
        assert_eq!(refused, [""; 0]);
        assert_eq!(of(json!({})).0.get("tlsverify"), None, "off by default");

        let settings: Settings = serde_json::from_value(on).unwrap();
        let (merged, refused) = configuration(of_image(), &settings.docker, false);
        assert_eq!(merged["hosts"], json!(["unix:///x"]));
        assert!(refused[0].contains("ros tls generate"), "{refused:?}");
    }

    #[test]
    fn nobody_opens_the_port_without_them() {
        let daemon = json!({ "tlsverify": false, "tls": false, "tlscacert": "/x" });
        let (merged, refused) = of(json!({ "docker": { "tcp": true, "daemon": daemon } }));
        assert_eq!(merged["tlsverify"], true);
        assert_eq!(merged["tlscacert"], paths::TLS_AUTHORITY);
        assert_eq!(refused.len(), 3);
    }

    #[test]
    fn without_settings_the_image_decides_and_logs_are_bounded() {
        let (merged, refused) = of(json!({}));
        assert_eq!(
            Value::Object(merged),
            json!({
                "hosts": ["unix:///x"],
                "log-driver": "local",
                "log-opts": { "max-size": "10M", "max-file": "3" },
            })
        );
        assert_eq!(refused, [""; 0]);
    }

    #[test]
    fn settings_are_told_in_the_engines_own_words() {
        let (merged, _) = of(json!({ "docker": {
            "registry_mirrors": ["http://mirror.lan:5000"],
            "insecure_registries": ["registry.lan:5000"],
            "log_max_size": "1M",
            "daemon": { "log-driver": "json-file", "dns": ["1.1.1.1"] },
        }}));
        for (key, value) in [
            ("registry-mirrors", json!(["http://mirror.lan:5000"])),
            ("insecure-registries", json!(["registry.lan:5000"])),
            ("log-opts", json!({ "max-size": "1M", "max-file": "3" })),
            ("log-driver", json!("json-file")),
            ("dns", json!(["1.1.1.1"])),
        ] {
            assert_eq!(merged[key], value, "{key}");
        }
    }

    #[test]
    fn what_the_system_relies_on_stays_and_is_told() {
        let (merged, refused) =
            of(json!({ "docker": { "daemon": { "hosts": ["tcp://0:2375"] } } }));
        assert_eq!(merged["hosts"], json!(["unix:///x"]));
        assert_eq!(refused.len(), 1);
        assert!(
            refused[0].starts_with("docker.daemon.hosts "),
            "{refused:?}"
        );
    }

    #[test]
    fn a_proxy_is_in_the_environment() {
        let settings: Settings = serde_json::from_value(json!({ "proxy": {
            "https": "http://proxy.lan:3128", "no_proxy": ["lan", "10.0.0.0/8"],
        }}))
        .unwrap();
        assert_eq!(
            environment(&settings.proxy),
            [
                ("HTTPS_PROXY", "http://proxy.lan:3128".to_owned()),
                ("NO_PROXY", "lan,10.0.0.0/8".to_owned()),
            ]
        );
        assert_eq!(environment(&Proxy::default()), []);
    }
}
