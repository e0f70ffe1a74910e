//! What people write, and what becomes of it.

use serde_json::{Value, json};

use super::{Decision, Files, decide, read};
use crate::keys::Schema;
use crate::layers::check;
use crate::node::FirstBoot;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@home";
const HASH: &str = "$6$rounds=4096$salt$0123456789abcdefghij";

pub(super) fn files(contents: &[(&str, &str)]) -> Files {
    Files {
        contents: contents
            .iter()
            .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
            .collect(),
        others: Vec::new(),
    }
}

fn first_boot(contents: &[(&str, &str)]) -> FirstBoot {
    let schema = Schema::default();
    let found = read(&schema, &files(contents));
    check(&schema, &found.settings).expect("what is found is valid");
    found
}

/// Settings of `user-data` in which everything is supported.
fn user_data(text: &str) -> Value {
    let found = first_boot(&[("user-data", &format!("#cloud-config\n{text}"))]);
    assert_eq!(found.unsupported, [""; 0], "{text}");
    found.settings
}

fn network(text: &str) -> Value {
    let mut found = first_boot(&[("network-config", text)]);
    assert_eq!(found.unsupported, [""; 0], "{text}");
    found.settings["network"].take()
}

/// What is named as not supported; nothing else is found.
fn refused(name: &str, text: &str) -> Vec<String> {
    let text = match name {
        "user-data" => format!("#cloud-config\n{text}"),
        _ => text.to_owned(),
    };
    first_boot(&[(name, &text)]).unsupported
}

#[test]
fn what_raspberry_pi_imager_writes() {
    let user_data = format!(
        "#cloud-config\nhostname: pi5\nmanage_etc_hosts: true\npackages:\n- avahi-daemon\n\n\
         apt:\n  conf: |\n    Acquire {{\n      Check-Date \"false\";\n    }};\n\n\
         timezone: Europe/Berlin\nkeyboard:\n  model: pc105\n  layout: \"de\"\n\
         enable_ssh: true\nusers:\n- name: anna\n\
         \x20 groups: users,adm,dialout,video,sudo\n  shell: /bin/bash\n\
         \x20 lock_passwd: false\n  passwd: {HASH}\n\
         \x20 ssh_authorized_keys:\n    - {KEY}\n  sudo: ALL=(ALL) NOPASSWD:ALL\n\n\
         ssh_pwauth: true\nrpi:\n  interfaces:\n    i2c: true\n    serial: true\n"
    );
    let psk = "0f".repeat(32);
    let network = format!(
        "network:\n  version: 2\n  wifis:\n    wlan0:\n      dhcp4: true\n\
         \x20     regulatory-domain: \"DE\"\n      access-points:\n        \"my home\":\n\
         \x20         hidden: true\n          password: \"{psk}\"\n      optional: true\n"
    );
    let found = first_boot(&[
        ("user-data", &user_data),
        ("network-config", &network),
        ("meta-data", "instance-id: rpi-imager-1760000000\n"),
    ]);
    assert_eq!(found.instance, "rpi-imager-1760000000");
    assert_eq!(
        found.settings,
        json!({
            "hostname": "pi5",
            "timezone": "Europe/Berlin",
            "users": {"anna": {
                "groups": ["users", "adm", "dialout", "video", "sudo"],
                "shell": "/bin/bash",
                "password_hash": HASH,
                "ssh_authorized_keys": [KEY],
                "sudo": "without-password",
            }},
            "ssh": {"password_authentication": true},
            "network": {
                "interfaces": {"wlan0": {"dhcp": true}},
                "wifi": {"country": "DE", "networks": {"my home": {"hidden": true, "password": psk}}},
            },
        })
    );
    let keys: Vec<_> = found
        .unsupported
        .iter()
        .filter_map(|it| it.split('`').nth(1))
        .collect();
    assert_eq!(
        keys,
        [
            "apt",
            "keyboard",
            "rpi.interfaces.i2c",
            "rpi.interfaces.serial"
        ]
    );
    assert!(found.notes[0].contains("avahi-daemon"));
}

#[test]
fn what_hypriot_users_write() {
    let text = format!(
        "#cloud-config\nhostname: black-pearl\nmanage_etc_hosts: true\nresize_rootfs: true\n\
         growpart:\n  mode: auto\nusers:\n  - name: pirate\n    gecos: \"Hypriot Pirate\"\n\
         \x20   sudo: ALL=(ALL) NOPASSWD:ALL\n    shell: /bin/bash\n\
         \x20   groups: users,docker,video,input\n    plain_text_passwd: hypriot\n\
         \x20   lock_passwd: false\n    ssh_pwauth: true\n    chpasswd: {{ expire: false }}\n\
         \x20   ssh-authorized-keys:\n      - {KEY}\n\
         locale: \"en_US.UTF-8\"\ntimezone: \"America/Los_Angeles\"\npackage_update: false\n\
         runcmd:\n  - 'systemctl restart avahi-daemon'\n  - [docker, run, -d, -p, 80:80, nginx]\n"
    );
    let found = first_boot(&[("user-data", &text)]);
    assert_eq!(found.settings["hostname"], "black-pearl");
    assert_eq!(
        found.settings["users"]["pirate"],
        json!({
            "groups": ["users", "docker", "video", "input"],
            "shell": "/bin/bash",
            "ssh_authorized_keys": [KEY],
            "sudo": "without-password",
        })
    );
    assert_eq!(
        found.settings["runcmd"][1],
        json!(["docker", "run", "-d", "-p", "80:80", "nginx"])
    );
    let named = found.unsupported.join("\n");
    for key in [
        "users.0.plain_text_passwd",
        "users.0.ssh_pwauth",
        "users.0.chpasswd",
        "locale",
    ] {
        assert!(named.contains(&format!("`{key}`")), "{named}");
    }
    assert!(!named.contains("hypriot"), "{named}");
}

#[test]
fn keys_and_passwords_find_their_users() {
    assert_eq!(
        user_data(&format!(
            "ssh_authorized_keys:\n  - {KEY}\n  - |\n    # two\n    ssh-rsa AAAA\n"
        )),
        json!({"ssh": {"authorized_keys": [KEY, "ssh-rsa AAAA"]}})
    );
    assert_eq!(
        user_data(&format!(
            "users:\n  - default\n  - name: rubus\n    ssh_authorized_keys: {KEY}\n"
        ))["ssh"],
        json!({"authorized_keys": [KEY]})
    );
    for text in [
        format!("chpasswd:\n  expire: false\n  list: |\n    anna:{HASH}\n"),
        format!("chpasswd:\n  expire: false\n  list:\n    - anna:{HASH}\n"),
        format!(
            "chpasswd:\n  expire: false\n  users:\n    - {{name: anna, password: {HASH}, type: hash}}\n"
        ),
    ] {
        assert_eq!(
            user_data(&text),
            json!({"users": {"anna": {"password_hash": HASH}}})
        );
    }
    let text =
        format!("users:\n- name: anna\n  lock_passwd: false\n  passwd: {HASH}\n  groups: [sudo]\n");
    assert_eq!(user_data(&text)["users"]["anna"]["sudo"], "with-password");
    let found = first_boot(&[("userconf.txt", &format!("pi:{HASH}\n"))]);
    assert_eq!(
        found.settings["users"]["pi"],
        json!({"password_hash": HASH, "sudo": "with-password"})
    );
}

#[test]
fn a_password_in_plain_text_is_refused_and_not_repeated() {
    for text in [
        "password: hunter2",
        "chpasswd: {list: 'anna:hunter2', expire: false}",
        "chpasswd: {users: [{name: anna, password: hunter2, type: text}]}",
        "users: [{name: anna, plain_text_passwd: hunter2}]",
        "users: [{name: anna, lock_passwd: false, passwd: hunter2}]",
    ] {
        let named = refused("user-data", text);
        assert_eq!(named.len(), 1, "{text}: {named:?}");
        assert!(
            named[0].contains("hash") && !named[0].contains("hunter2"),
            "{named:?}"
        );
    }
    let named = refused(
        "user-data",
        &format!("users: [{{name: anna, passwd: '{HASH}'}}]"),
    );
    assert!(named[0].contains("lock_passwd: false"), "{named:?}");
}

#[test]
fn files_commands_and_own_settings() {
    assert_eq!(
        user_data(
            "write_files:\n- path: /a\n  content: hi\n  permissions: 0600\n  owner: root:root\n\
             - path: /b\n  encoding: gzip+base64\n  content: H4sI\n  append: true\n\
             bootcmd:\n- [echo, 1]\n- echo 2\n\
             ntp:\n  servers: [10.0.0.1]\n  pools: [pool.lan]\n\
             rubus:\n  docker:\n    log_max_files: 5\n  services: {nats: true}\n"
        ),
        json!({
            "write_files": [
                {"path": "/a", "content": "hi", "permissions": "0600", "owner": "root:root"},
                {"path": "/b", "content": "H4sI", "encoding": "gz+b64", "append": true},
            ],
            "bootcmd": [["echo", "1"], "echo 2"],
            "ntp": {"servers": ["pool.lan", "10.0.0.1"]},
            "docker": {"log_max_files": 5},
            "services": {"nats": true},
        })
    );
}

#[test]
fn what_is_not_supported_is_named_and_the_rest_counts() {
    for (text, words) in [
        ("colour: blue", "`colour`: this is not supported"),
        ("packages: [htop, avahi-daemon]", "containers: htop"),
        ("power_state: {mode: reboot}", "`power_state`"),
        ("hostname: a b", "`hostname`: \"a b\" is not a host name"),
        ("timezone: ../x", "`timezone`"),
        ("ssh_authorized_keys: [hello]", "is not a public ssh key"),
        ("users: [{name: A}]", "`users.0.name`"),
        (
            "users: [{name: anna, sudo: 'ALL=(www) /bin/x'}]",
            "`users.0.sudo`",
        ),
        ("users: [5]", "`users.0`"),
        (
            "rubus: {ssh: {prot: 1}}",
            "`rubus.ssh`: there is no such key; did you mean `port`? (`ssh.prot`)",
        ),
        ("rubus: 5", "`rubus`"),
        ("write_files: [{path: x}]", "`write_files.0`"),
        (
            "write_files: [{path: /x, encoding: gz}]",
            "use text, b64 or gz+b64",
        ),
        ("ssh_pwauth: maybe", "`ssh_pwauth`"),
    ] {
        let named = refused("user-data", text);
        assert_eq!(named.len(), 1, "{text}: {named:?}");
        assert!(named[0].contains(words), "{text}: {named:?}");
    }
    let found = first_boot(&[(
        "user-data",
        &format!("#cloud-config\nhostname: a b\nssh_authorized_keys: [hello, {KEY}]\n"),
    )]);
    assert_eq!(found.settings, json!({"ssh": {"authorized_keys": [KEY]}}));
}

#[test]
fn other_kinds_of_user_data_are_named() {
    for text in [
        "#!/bin/sh\nreboot\n",
        "Content-Type: multipart/mixed\n",
        "#include\nhttp://x\n",
    ] {
        let found = first_boot(&[("user-data", text)]);
        assert_eq!(found.unsupported.len(), 1, "{text}");
        assert_eq!(found.settings, json!({}));
    }
    let found = first_boot(&[("user-data", "hostname: a\n")]);
    assert_eq!(found.settings["hostname"], "a");
    assert!(found.notes[0].contains("#cloud-config"));
    let broken = refused("user-data", "hostname: a\n  b: [\n");
    assert!(
        broken[0].contains("line ") && broken[0].contains("not YAML"),
        "{broken:?}"
    );
    for empty in ["", "\n", "# nothing\n", "---\n"] {
        let found = first_boot(&[("user-data", empty)]);
        assert_eq!(
            (found.settings, found.unsupported),
            (json!({}), Vec::new()),
            "{empty:?}"
        );
    }
}

#[test]
fn the_network_of_version_2() {
    assert_eq!(
        network(
            "version: 2\nethernets:\n  eth0:\n    dhcp4: false\n    addresses: [192.168.1.5/24, 'fd00::5/64']\n\
             \x20   gateway4: 192.168.1.1\n    nameservers: {addresses: [1.1.1.1], search: [lan]}\n\
             \x20   routes:\n    - {to: 10.0.0.0/8, via: 192.168.1.2, metric: 10}\n    mtu: 1400\n\
             vlans:\n  eth0.7: {id: 7, link: eth0, dhcp4: true}\n"
        ),
        json!({"interfaces": {
            "eth0": {
                "dhcp": false,
                "addresses": ["192.168.1.5/24", "fd00::5/64"],
                "gateway4": "192.168.1.1",
                "dns": ["1.1.1.1"],
                "search": ["lan"],
                "routes": [{"to": "10.0.0.0/8", "via": "192.168.1.2", "metric": 10}],
                "mtu": 1400,
            },
            "eth0.7": {"dhcp": true, "vlan": {"id": 7, "link": "eth0"}},
        }})
    );
    assert_eq!(
        network(
            "network:\n  version: 2\n  ethernets:\n    any:\n      match: {name: eth1}\n      addresses: [10.0.0.5/8]\n      routes: [{to: default, via: 10.0.0.1}]\n"
        ),
        json!({"interfaces": {"eth1": {"addresses": ["10.0.0.5/8"], "gateway4": "10.0.0.1"}}})
    );
    // What is the default anyway needs no interface.
    assert_eq!(
        network(
            "version: 2\nethernets:\n  all: {match: {name: 'e*'}, dhcp4: true, optional: true}\n"
        ),
        Value::Null
    );
    assert_eq!(
        network(
            "version: 2\nwifis:\n  wlan0:\n    access-points:\n      open: {password: ''}\n      home: {auth: {key-management: psk, password: 12345678}}\n"
        )["wifi"],
        json!({"networks": {"open": {}, "home": {"password": "12345678"}}})
    );
}

#[test]
fn the_network_of_version_1() {
    assert_eq!(
        network(
            "version: 1\nconfig:\n- type: physical\n  name: eth0\n  subnets:\n  - type: static\n\
             \x20   address: 192.168.1.5\n    netmask: 255.255.255.0\n    gateway: 192.168.1.1\n\
             \x20   dns_nameservers: [1.1.1.1]\n    routes:\n    - {network: 10.0.0.0, netmask: 255.0.0.0, gateway: 192.168.1.2}\n\
             - type: vlan\n  name: eth0.7\n  vlan_link: eth0\n  vlan_id: 7\n  subnets: [{type: dhcp4}]\n\
             - type: nameserver\n  address: 8.8.8.8\n  search: [lan]\n"
        ),
        json!({
            "dns": ["8.8.8.8"],
            "search": ["lan"],
            "interfaces": {
                "eth0": {
                    "addresses": ["192.168.1.5/24"],
                    "gateway4": "192.168.1.1",
                    "dns": ["1.1.1.1"],
                    "routes": [{"to": "10.0.0.0/8", "via": "192.168.1.2"}],
                },
                "eth0.7": {"dhcp": true, "vlan": {"id": 7, "link": "eth0"}},
            },
        })
    );
}

#[test]
fn a_network_that_is_not_supported_is_named() {
    for (text, words) in [
        ("version: 3", "`version`: write 1 or 2"),
        ("network: {config: disabled}", "always set up"),
        ("version: 2\nbridges: {br0: {}}", "`bridges`"),
        (
            "version: 2\nethernets: {a: {match: {macaddress: '00:11'}, addresses: [10.0.0.1/8]}}",
            "`ethernets.a.match`",
        ),
        (
            "version: 2\nethernets: {eth0: {addresses: [10.0.0.1]}}",
            "is not an address with the length",
        ),
        (
            "version: 2\nethernets: {eth0: {addresses: [10.0.0.2/8], gateway4: 192.168.1.1}}",
            "in no network",
        ),
        (
            "version: 2\nwifis: {wlan0: {access-points: {home: {password: short}}}}",
            "Wi-Fi password",
        ),
        (
            "version: 2\nwifis: {wlan0: {access-points: {x: {auth: {key-management: eap}}}}}",
            "only networks with a password",
        ),
        (
            "version: 1\nconfig: [{type: bond, name: b}]",
            "\"bond\" is not supported",
        ),
        (
            "version: 1\nconfig: [{type: physical, name: e, subnets: [{type: static, address: 1.2.3.4, netmask: 255.0.255.0}]}]",
            "no address with the length",
        ),
        ("- a", "`version`"),
    ] {
        let named = refused("network-config", text);
        assert_eq!(named.len(), 1, "{text}: {named:?}");
        assert!(named[0].contains(words), "{text}: {named:?}");
        assert!(!named[0].contains("short"), "{named:?}");
    }
}

#[test]
fn meta_data_names_the_instance_and_a_node_without_a_name() {
    let meta = format!("instance-id: i-1\nlocal-hostname: meta.lan\npublic-keys: [{KEY}]\n");
    let found = first_boot(&[("meta-data", &meta)]);
    assert_eq!(found.instance, "i-1");
    assert_eq!(
        found.settings,
        json!({"hostname": "meta", "ssh": {"authorized_keys": [KEY]}})
    );
    let found = first_boot(&[
        ("user-data", "#cloud-config\nfqdn: own.lan\n"),
        ("meta-data", &meta),
    ]);
    assert_eq!(found.settings["hostname"], "own");
}

#[test]
fn other_files_are_understood_for_what_people_mean() {
    let schema = Schema::default();
    let others = |name: &str| {
        let files = Files {
            others: vec![name.to_owned()],
            ..Files::default()
        };
        read(&schema, &files)
    };
    let ssh = others("ssh");
    assert!(ssh.notes[0].starts_with("ssh: the ssh server always runs"));
    assert!(ssh.unsupported.is_empty());
    assert!(others("wpa_supplicant.conf").unsupported[0].contains("network-config"));
}

#[test]
fn files_are_processed_once_for_each_instance() {
    let schema = Schema::default();
    let one = files(&[
        ("user-data", "#cloud-config\nhostname: a\n"),
        ("meta-data", "instance-id: i-1"),
    ]);
    let other = files(&[
        ("user-data", "#cloud-config\nhostname: b\n"),
        ("meta-data", "instance-id: i-1"),
    ]);
    let renamed = files(&[
        ("user-data", "#cloud-config\nhostname: b\n"),
        ("meta-data", "instance-id: i-2"),
    ]);
    let kept = read(&schema, &one);
    let decide = |kept: Option<&FirstBoot>, files: &Files| decide(&schema, kept, files);
    let process = |files: &Files| Decision::Process(read(&schema, files));
    assert_eq!(decide(None, &one), process(&one));
    assert_eq!(decide(Some(&kept), &one), Decision::Keep);
    assert_eq!(
        decide(Some(&kept), &other),
        Decision::KeepThoughChanged("i-1".to_owned())
    );
    assert_eq!(decide(Some(&kept), &renamed), process(&renamed));
    assert_eq!(decide(Some(&kept), &Files::default()), Decision::Keep);
    assert_eq!(decide(None, &Files::default()), Decision::Keep);
    // Without meta-data, other files are another instance.
    let bare = files(&[("user-data", "#cloud-config\nhostname: a\n")]);
    let changed = files(&[("user-data", "#cloud-config\nhostname: b\n")]);
    let kept = read(&schema, &bare);
    assert_eq!(decide(Some(&kept), &bare), Decision::Keep);
    assert_eq!(decide(Some(&kept), &changed), process(&changed));
    // A card that was tidied up is not another instance.
    let tidied = Files {
        others: vec!["ssh".to_owned()],
        ..Files::default()
    };
    assert_eq!(decide(Some(&kept), &tidied), Decision::Keep);
    assert_eq!(decide(None, &tidied), process(&tidied));
}
