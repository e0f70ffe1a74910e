//! Keys as people ask for them.

use serde_json::{Value, json};

use super::{KeyError, Path, Schema};

fn parse(key: &str, text: &str) -> Result<Value, String> {
    let schema = Schema::default();
    let (_, entry) = schema.find(key).unwrap_or_else(|e| panic!("{key}: {e}"));
    entry.parse(text)
}

fn missing(key: &str) -> String {
    Schema::default().find(key).expect_err(key).to_string()
}

#[test]
fn a_key_has_dots_and_quotes_as_in_toml() {
    for (text, parts) in [
        ("", &[][..]),
        ("ssh.port", &["ssh", "port"]),
        ("a.\"b.c\".d", &["a", "b.c", "d"]),
        ("\"a b\"", &["a b"]),
    ] {
        let path = Path::parse(text).unwrap();
        assert_eq!(path.parts(), parts);
        assert_eq!(path.to_string(), text);
    }
    for text in [".", "a.", ".a", "a..b", "\"a", "a\"b\"", "\"a\"b", "\"\""] {
        assert!(Path::parse(text).is_err(), "{text}");
    }
}

#[test]
fn keys_are_found_at_every_level() {
    let schema = Schema::default();
    for key in [
        "",
        "hostname",
        "ssh",
        "ssh.port",
        "users.anna.ssh_authorized_keys.0",
        "network.interfaces.eth0.vlan.id",
        "network.interfaces.eth0.routes.3.via",
        "network.wifi.networks.\"my home\".password",
        "services.ntp",
        "write_files.0.path",
        "docker.daemon.ipv6",
    ] {
        let (path, _) = schema.find(key).unwrap_or_else(|e| panic!("{key}: {e}"));
        assert_eq!(path.to_string(), key);
    }
}

#[test]
fn the_name_of_a_plain_value_may_have_dots() {
    let schema = Schema::default();
    let (path, _) = schema.find("kernel.sysctl.net.ipv4.ip_forward").unwrap();
    assert_eq!(path.parts(), ["kernel", "sysctl", "net.ipv4.ip_forward"]);
    assert_eq!(path.to_string(), "kernel.sysctl.\"net.ipv4.ip_forward\"");
    assert_eq!(schema.find(&path.to_string()).unwrap().0, path);
}

#[test]
fn a_misspelt_key_is_answered_with_the_one_that_was_meant() {
    for (key, meant) in [
        ("hostnam", "hostname"),
        ("ssh.prot", "ssh.port"),
        ("users.anna.gruops", "users.anna.groups"),
        (
            "network.interfaces.eth0.adresses",
            "network.interfaces.eth0.addresses",
        ),
    ] {
        let error = missing(key);
        assert!(
            error.contains(&format!("did you mean `{meant}`?")),
            "{error}"
        );
    }
    assert!(!missing("colour").contains("did you mean"));
    // Shells take quotes away.
    for (key, meant) in [
        (
            "network.interfaces.eth0.7.mtu",
            "'network.interfaces.\"eth0.7\".mtu'",
        ),
        (
            "network.interfaces.eth0.7",
            "'network.interfaces.\"eth0.7\"'",
        ),
        (
            "network.wifi.networks.home.lan.password",
            "'network.wifi.networks.\"home.lan\".password'",
        ),
    ] {
        let error = missing(key);
        assert!(
            error.ends_with(&format!("is quoted, also for the shell: {meant}")),
            "{error}"
        );
    }
    assert!(!missing("users.anna.colour").contains("quoted"));
    assert!(missing("hostname.x").starts_with("there is no key `hostname.x`"));
}

#[test]
fn a_place_in_a_list_is_a_number() {
    let schema = Schema::default();
    let error = schema.find("ssh.authorized_keys.first").unwrap_err();
    assert!(matches!(error, KeyError::NotAnIndex { .. }), "{error}");
}

#[test]
fn values_are_read_by_the_type_of_their_key() {
    for (key, text, value) in [
        ("hostname", "5", json!("5")),
        ("ssh.port", "2222", json!(2222)),
        ("ssh.password_authentication", "true", json!(true)),
        ("ntp.servers", "pool.ntp.org", json!(["pool.ntp.org"])),
        ("ntp.servers", "[\"a\", \"b\"]", json!(["a", "b"])),
        ("ntp.servers", "[]", json!([])),
        (
            "users.anna",
            "{ groups = [\"docker\"] }",
            json!({"groups": ["docker"]}),
        ),
        ("users.anna.sudo", "with-password", json!("with-password")),
        ("kernel.sysctl.vm.swappiness", "10", json!("10")),
        ("network.interfaces.eth0.mtu", "9000", json!(9000)),
        ("network.interfaces.eth0.dhcp", "false", json!(false)),
        ("runcmd.0", "echo hello", json!("echo hello")),
        (
            "runcmd.0",
            "[\"echo\", \"hello\"]",
            json!(["echo", "hello"]),
        ),
        ("docker.daemon.ipv6", "true", json!(true)),
        ("docker.daemon.bip", "10.1.0.1/16", json!("10.1.0.1/16")),
        ("services.ntp", "false", json!(false)),
    ] {
        assert_eq!(parse(key, text), Ok(value), "{key} {text}");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_told_what_it_should_be() {
    for (key, text, words) in [
        ("ssh.port", "ssh", "is not a number"),
        ("watchdog.timeout", "long", "number from 2 to 15"),
        ("services.ntp", "yes", "neither true nor false"),
        ("ssh", "x", "it is a table"),
        ("ntp.servers", "[", "not a value of TOML"),
        (
            "users.anna.sudo",
            "with-pasword",
            "did you mean `with-password`?",
        ),
        ("ntp.servers", "[1]\nx = 2", "more than one value"),
    ] {
        let error = parse(key, text).expect_err(key);
        assert!(error.contains(words), "{key}: {error}");
    }
}

#[test]
fn several_values_make_a_list() {
    let schema = Schema::default();
    let texts = ["a".to_owned(), "b".to_owned()];
    let (_, list) = schema.find("ntp.servers").unwrap();
    assert_eq!(list.parse_all(&texts), Ok(json!(["a", "b"])));
    let (_, single) = schema.find("hostname").unwrap();
    assert!(single.parse_all(&texts).is_err());
}

#[test]
fn every_key_says_what_it_is() {
    let keys = Schema::default().keys();
    for key in &keys {
        assert!(!key.text.is_empty(), "{key:?}");
        assert!(!key.kind.is_empty() && !key.text.contains('\n'), "{key:?}");
    }
    let find = |name: &str| {
        let found = keys.iter().find(|key| key.key == name);
        found.unwrap_or_else(|| panic!("{name} is not listed"))
    };
    assert_eq!(find("ssh.port").default.as_deref(), Some("22"));
    assert_eq!(find("timezone").default.as_deref(), Some("\"UTC\""));
    assert_eq!(find("watchdog.timeout").kind, "number from 2 to 15");
    assert_eq!(find("ntp.servers").kind, "list of: time server");
    assert_eq!(find("services.NAME").kind, "true or false");
    assert_eq!(
        find("users.NAME.shell").default.as_deref(),
        Some("\"/bin/bash\"")
    );
    assert!(find("kernel.modules").reboot);
    assert!(!find("ssh.port").reboot);
    assert!(find("network.wifi.networks.NAME.password").secret);
    assert!(find("users.NAME.password_hash").secret);
    assert!(!find("users.NAME.groups").secret);
    assert_eq!(
        find("write_files.N.permissions").default.as_deref(),
        Some("\"0644\"")
    );
}

#[test]
fn keys_and_names_are_completed() {
    let schema = Schema::default();
    let settings = json!({"users": {"anna": {}, "bob": {}}, "kernel": {"sysctl": {"vm.x": "1"}}});
    assert_eq!(schema.complete_key("ho", &settings), ["hostname"]);
    assert_eq!(
        schema.complete_key("ssh.p", &settings),
        ["ssh.password_authentication", "ssh.port"]
    );
    assert_eq!(
        schema.complete_key("network.w", &settings),
        ["network.wifi", "network.wifi."]
    );
    assert_eq!(
        schema.complete_key("users.", &settings),
        ["users.anna", "users.anna.", "users.bob", "users.bob."]
    );
    assert_eq!(
        schema.complete_key("users.anna.su", &settings),
        ["users.anna.sudo"]
    );
    assert_eq!(
        schema.complete_key("kernel.sysctl.", &settings),
        ["kernel.sysctl.\"vm.x\""]
    );
    assert!(schema.complete_key("nothing.x", &settings).is_empty());
    // Before the first dot nobody has to know how keys are grouped.
    assert_eq!(
        schema.complete_key("net", &settings),
        [
            "network.dns",
            "network.interfaces",
            "network.interfaces.",
            "network.search",
            "network.wifi.country",
            "network.wifi.networks",
            "network.wifi.networks."
        ]
    );
    assert_eq!(schema.complete_key("wri", &settings), ["write_files"]);
    let every = schema.complete_key("", &settings);
    for key in &every {
        assert!(schema.find(key.trim_end_matches('.')).is_ok(), "{key}");
    }
    let values = |key: &str| schema.find(key).unwrap().1.values();
    assert_eq!(
        values("users.anna.sudo"),
        ["no", "with-password", "without-password"]
    );
    assert_eq!(values("ssh.password_authentication"), ["false", "true"]);
    assert!(values("hostname").is_empty());
}
