//! The program with a real kernel: each test has a network of its own, with one
//! cable (`eth0`) whose other end (`far0`) it holds as well, and looks at what
//! the kernel says afterwards.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

const STATE: &str = "/run/rubus/network/state.json";
const RESOLV_CONF: &str = "/run/host-etc/resolv.conf";
const SETTINGS: &str = "/run/settings/settings.json";
/// How long the program and the kernel may take for a change.
const PATIENCE: Duration = Duration::from_secs(10);

/// The network, and the folders that the program sees as a service. They belong
/// to the thread of the test, and end with it.
struct Node {
    program: Option<Child>,
}

impl Node {
    fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .expect("only root can have a network of its own");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let none: Option<&str> = None;
        mount(none, "/", none, private, none).unwrap();
        for memory in ["/run", "/var/lib"] {
            mount(none, memory, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        }
        for folder in [
            "/run/host-etc",
            "/run/host-ipv6",
            "/run/settings",
            "/run/rubus/network",
            "/var/lib/rubus/network",
        ] {
            fs::create_dir_all(folder).unwrap();
        }
        // The kernel shows each thread that of its own network.
        let conf = Some("/proc/sys/net/ipv6/conf");
        mount(conf, "/run/host-ipv6", none, MsFlags::MS_BIND, none).unwrap();
        ip("link add eth0 type veth peer name far0");
        ip("link set far0 up");
        Self { program: None }
    }

    /// Starts the program, or starts it again, with these settings.
    fn start(&mut self, network: &Value) {
        self.stop();
        let settings = json!({ "network": network });
        fs::write(SETTINGS, settings.to_string()).unwrap();
        let program = Command::new(env!("CARGO_BIN_EXE_network")).spawn();
        self.program = Some(program.unwrap());
    }

    fn stop(&mut self) {
        if let Some(mut program) = self.program.take() {
            let pid = Pid::from_raw(i32::try_from(program.id()).unwrap());
            kill(pid, Signal::SIGTERM).unwrap();
            assert!(program.wait().unwrap().success());
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.kill().ok();
            program.wait().ok();
        }
    }
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.expect("ip of iproute2 is needed");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// What `ip -j` says.
fn ask(arguments: &str) -> Vec<Value> {
    let text = ip(&format!("-j {arguments}"));
    if text.trim().is_empty() {
        return Vec::new();
    }
    serde_json::from_str(&text).unwrap()
}

/// The addresses of a link, without those that the kernel gives itself.
fn addresses(link: &str) -> Vec<String> {
    let found = ask("addr show");
    let found = found.iter().find(|it| it["ifname"] == link);
    let all = found.and_then(|it| it["addr_info"].as_array());
    let mut all: Vec<String> = all
        .into_iter()
        .flatten()
        .map(|it| format!("{}/{}", it["local"].as_str().unwrap(), it["prefixlen"]))
        .filter(|it| !it.starts_with("fe80"))
        .collect();
    all.sort();
    all
}

/// The routes over a link for which somebody asked.
fn routes(link: &str) -> Vec<String> {
    let mut all: Vec<String> = ["-4", "-6"]
        .iter()
        .flat_map(|family| ask(&format!("{family} route show dev {link}")))
        .filter(|it| it["protocol"] != "kernel")
        .map(|it| {
            let word = |key: &str| it[key].as_str().unwrap_or("-").to_owned();
            let (to, via, from) = (word("dst"), word("gateway"), word("protocol"));
            format!("{to} via {via} {from} {}", it["metric"])
        })
        .collect();
    all.sort();
    all
}

fn mtu(link: &str) -> Value {
    ask(&format!("link show {link}"))[0]["mtu"].clone()
}

/// A value of the kernel for IPv6 on a link.
fn ipv6(link: &str, key: &str) -> String {
    let path = format!("/run/host-ipv6/{link}/{key}");
    fs::read_to_string(path).unwrap().trim().to_owned()
}

fn metric() -> u64 {
    100 + ask("link show eth0")[0]["ifindex"].as_u64().unwrap()
}

/// Waits until something is as expected.
fn until<T: PartialEq + std::fmt::Debug>(look: impl Fn() -> T, expected: T) {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = look();
        if found == expected {
            return;
        }
        assert!(
            Instant::now() < end,
            "found {found:?} and not {expected:?}; the state: {}",
            fs::read_to_string(STATE).unwrap_or_default()
        );
        thread::sleep(Duration::from_millis(50));
    }
}

/// The number of the file that the state is in: each time it is another.
fn state_file() -> u64 {
    fs::metadata(STATE).unwrap().ino()
}

fn strings(all: &[&str]) -> Vec<String> {
    all.iter().map(|it| (*it).to_owned()).collect()
}

fn fixed() -> Value {
    json!({
        "dns": ["9.9.9.9"],
        "interfaces": { "eth0": {
            "addresses": ["10.7.0.5/24", "10.7.0.6/24", "fd07::5/64"],
            "gateway4": "10.7.0.1",
            "gateway6": "fd08::1",
            "dns": ["fd07::53"],
            "search": ["lan"],
            "routes": [
                { "to": "10.8.1.1/16", "via": "10.7.0.2", "metric": 7 },
                { "to": "fd09::/32", "via": "fd07::2" },
            ],
            "mtu": 1400,
        }},
    })
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn fixed_settings_are_applied_and_replaced() {
    let mut node = Node::new();
    node.start(&fixed());
    until(
        || addresses("eth0"),
        strings(&["10.7.0.5/24", "10.7.0.6/24", "fd07::5/64"]),
    );
    let own = metric();
    let both = [
        "10.8.0.0/16 via 10.7.0.2 static 7".to_owned(),
        format!("default via 10.7.0.1 static {own}"),
        format!("default via fd08::1 static {own}"),
        format!("fd09::/32 via fd07::2 static {own}"),
    ];
    until(|| routes("eth0"), both.to_vec());
    assert_eq!(mtu("eth0"), 1400);
    assert_eq!(ipv6("eth0", "accept_ra_defrtr"), "0");
    until(
        || {
            fs::read_to_string(RESOLV_CONF)
                .unwrap()
                .lines()
                .skip(1)
                .collect::<String>()
        },
        "search lannameserver 9.9.9.9nameserver fd07::53".to_owned(),
    );

    // The same again changes nothing.
    let watch = Watch::new();
    let before = state_file();
    node.start(&fixed());
    until(|| state_file() == before, false);
    assert_eq!(watch.end(), "");

    // The first of two addresses goes, and all of IPv6.
    node.start(&json!({ "interfaces": { "eth0": {
        "addresses": ["10.7.0.6/24"], "gateway4": "10.7.0.1", "ipv6": "off",
    }}}));
    until(|| addresses("eth0"), strings(&["10.7.0.6/24"]));
    until(
        || routes("eth0"),
        vec![format!("default via 10.7.0.1 static {own}")],
    );
    assert_eq!(mtu("eth0"), 1500);
    assert_eq!(ipv6("eth0", "disable_ipv6"), "1");
    until(
        || fs::read_to_string(RESOLV_CONF).unwrap().lines().count(),
        1,
    );

    // IPv6 comes back, with fixed addresses only.
    node.start(&json!({ "interfaces": { "eth0": {
        "addresses": ["10.7.0.6/24", "fd07::5/64"], "ipv6": "manual",
    }}}));
    until(
        || addresses("eth0"),
        strings(&["10.7.0.6/24", "fd07::5/64"]),
    );
    until(|| routes("eth0"), Vec::new());
    assert_eq!(ipv6("eth0", "disable_ipv6"), "0");
    assert_eq!(ipv6("eth0", "accept_ra"), "0");
    assert_eq!(ipv6("eth0", "autoconf"), "0");

    // A link that the settings do not name, and that is no hardware, is left as
    // it was found.
    node.start(&json!({}));
    until(|| addresses("eth0"), Vec::new());
    until(|| ipv6("eth0", "accept_ra"), "2".to_owned());
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn fixed_addresses_follow_the_carrier() {
    let mut node = Node::new();
    ip("link set far0 down");
    node.start(&fixed());
    until(|| mtu("eth0"), json!(1400));
    assert_eq!(addresses("eth0"), strings(&[]));
    ip("link set far0 up");
    until(|| addresses("eth0").len(), 3);
    until(|| routes("eth0").len(), 4);
    ip("link set far0 down");
    until(|| addresses("eth0").len(), 0);
    assert_eq!(routes("eth0"), strings(&[]));
    assert_eq!(mtu("eth0"), 1400);
    ip("link set far0 up");
    until(|| addresses("eth0").len(), 3);
    until(|| routes("eth0").len(), 4);
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn a_part_of_a_bridge_keeps_nothing() {
    let mut node = Node::new();
    node.start(&fixed());
    until(|| addresses("eth0").len(), 3);
    ip("link add br0 type bridge");
    ip("link set eth0 master br0");
    until(|| addresses("eth0").len(), 0);
    until(|| mtu("eth0"), json!(1500));
    ip("link set eth0 nomaster");
    until(|| addresses("eth0").len(), 3);
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn damaged_settings_are_those_of_a_node_without_any() {
    let mut node = Node::new();
    node.start(&fixed());
    until(|| addresses("eth0").len(), 3);
    node.start(&json!({ "interfaces": { "eth0": { "mtu": "large" } } }));
    until(|| addresses("eth0").len(), 0);
    node.stop();
}

#[test]
#[ignore = "needs root, for a network of its own, and a kernel with 8021q"]
fn vlans_are_made_changed_and_removed() {
    let vlan = |id: u16| {
        json!({ "interfaces": {
            "eth0": { "dhcp": false },
            "lan": { "vlan": { "id": id, "link": "eth0" }, "addresses": ["10.9.0.5/24"] },
        }})
    };
    let id = || {
        let all = ask("-d link show");
        let lan = all.iter().find(|it| it["ifname"] == "lan");
        lan.map(|it| it["linkinfo"]["info_data"]["id"].clone())
    };
    let mut node = Node::new();
    // Somebody else's.
    ip("link add link far0 name other type vlan id 9");
    node.start(&vlan(7));
    until(id, Some(json!(7)));
    until(|| addresses("lan"), strings(&["10.9.0.5/24"]));
    node.start(&vlan(8));
    until(id, Some(json!(8)));
    until(|| addresses("lan"), strings(&["10.9.0.5/24"]));
    // It comes back with its link.
    ip("link del eth0");
    until(id, None);
    ip("link add eth0 type veth peer name far0");
    ip("link set far0 up");
    until(id, Some(json!(8)));
    until(|| addresses("lan"), strings(&["10.9.0.5/24"]));
    ip("link add link far0 name other type vlan id 9");
    node.start(&json!({ "interfaces": { "eth0": { "dhcp": false } } }));
    until(id, None);
    assert!(ip("link show").contains("other@far0"));
}

/// Looks on while nothing should change.
struct Watch(Child);

impl Watch {
    /// Time for `ip` to begin, and to tell the last of what it saw.
    const PAUSE: Duration = Duration::from_millis(500);

    fn new() -> Self {
        let mut command = Command::new("ip");
        command.args(["monitor", "address", "route"]);
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        thread::sleep(Self::PAUSE);
        Self(child)
    }

    fn end(mut self) -> String {
        thread::sleep(Self::PAUSE);
        self.0.kill().unwrap();
        let output = self.0.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}
