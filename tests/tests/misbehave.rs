//! An image with services that misbehave, each in its own way, all at once: the
//! node and what else runs on it do not suffer.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use rubus_tests::{
    checkout::Checkout,
    image::image,
    node::{Node, Options},
    tools::{must, rubus, ssh_key, target},
};
use serde_json::Value;

const MINUTE: Duration = Duration::from_secs(60);

/// Name, what its shell runs, and more of its definition.
const SERVICES: [(&str, &str, &str); 6] = [
    (
        "eats",
        "echo hungry; x=0123456789abcdef; while true; do x=$x$x; done",
        "[limits]\nmemory = \"16M\"\n",
    ),
    ("quits", "echo going >&2; exit 3", ""),
    (
        "mute",
        "while true; do sleep 1; done",
        "[health]\nexec = [\"/usr/bin/sh\", \"-c\", \"sleep 4321 & sleep 4321\"]\n\
         interval = \"2s\"\ntimeout = \"1s\"\nretries = 2\n",
    ),
    ("deaf", "trap '' TERM; while true; do sleep 1; done", ""),
    (
        // Among the processes of the node, where the kernel lets them live on.
        "forks",
        "for i in 1 2 3; do (setsid sleep 1234 &); done; \
         trap 'exit 0' TERM; while true; do sleep 1; done",
        "pid = \"host\"\n",
    ),
    (
        "floods",
        "n=0; while true; do echo line $((n += 1)); done",
        "",
    ),
];

/// An image that holds them, switched off. Their root is busybox, which the
/// lock names for functions.
fn image_with_them(checkout: &Checkout) -> PathBuf {
    let lock = checkout.path().join("rubus.lock");
    let mut text = fs::read_to_string(&lock).unwrap();
    let set = text.split("[set.functions]\n").nth(1).unwrap();
    let set = set.split("\n\n").next().unwrap().to_owned();
    for (name, script, rest) in SERVICES {
        let folder = checkout.path().join("services").join(name);
        fs::create_dir(&folder).unwrap();
        // Keys before tables.
        let toml = format!(
            "description = \"Misbehaves\"\nkind = \"daemon\"\nenabled = false\n\
             packages = [\"busybox-static\"]\nrestart = \"always\"\nstop_timeout = \"2s\"\n\
             command = [\"/usr/bin/sh\", \"-c\", '''{script}''']\n{rest}\n\
             [links]\n\"/usr/bin/sh\" = \"busybox\"\n\"/usr/bin/sleep\" = \"busybox\"\n\
             \"/usr/bin/setsid\" = \"busybox\"\n"
        );
        fs::write(folder.join("service.toml"), toml).unwrap();
        text += &format!("\n[set.\"service/{name}\"]\n{set}\n");
    }
    fs::write(&lock, text).unwrap();
    let out = checkout.path().join("out");
    // Compiles the programs that both images share.
    image("qemu-virt");
    must(
        rubus()
            .args(["build", "--board", "qemu-virt", "--compress", "none"])
            .arg("--out")
            .arg(&out)
            .arg("--ssh-key")
            .arg(ssh_key().with_extension("pub"))
            .current_dir(checkout.path())
            .env("CARGO_TARGET_DIR", fs::canonicalize(target()).unwrap()),
    );
    out.join("rubus-qemu-virt.img")
}

/// The states of all services of the system, by name.
fn services(node: &Node) -> BTreeMap<String, Value> {
    let list: Vec<Value> = serde_json::from_str(&node.ssh("ros service list --json")).unwrap();
    list.into_iter()
        .filter(|service| service["kind"] != "compose")
        .map(|service| (service["name"].as_str().unwrap().to_owned(), service))
        .collect()
}

/// Waits until something is so of a service; returns what it is then.
fn wait_for(node: &Node, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + 2 * MINUTE;
    loop {
        let service = services(node).remove(name).unwrap();
        if is_so(&service) {
            return service;
        }
        assert!(Instant::now() < end, "{service}");
    }
}

fn reason(service: &Value) -> &str {
    service["reason"].as_str().unwrap()
}

fn restarts(service: &Value) -> u64 {
    service["restarts"].as_u64().unwrap()
}

/// How many processes of the node have this command line.
fn count(node: &Node, command: &str) -> usize {
    let all = node.ssh("ps -e -o args=");
    all.lines().filter(|line| line.trim() == command).count()
}

/// What the last line of `floods` says, as a number.
fn flood(node: &Node) -> u64 {
    let said = node.ssh("ros logs -n 1 --json floods");
    let line: Value = serde_json::from_str(said.trim()).unwrap();
    let text = line["text"].as_str().unwrap();
    text.strip_prefix("line ").unwrap().parse().unwrap()
}

/// What may not change of services that behave.
fn others(node: &Node) -> Vec<(String, Value, Value, Value)> {
    let ours = |name: &String| SERVICES.iter().any(|(ours, _, _)| ours == name);
    services(node)
        .into_iter()
        .filter(|(name, _)| !ours(name))
        .map(|(name, it)| {
            let [state, pid, restarts] = ["state", "pid", "restarts"].map(|key| it[key].clone());
            (name, state, pid, restarts)
        })
        .collect()
}

#[test]
fn services_that_misbehave_harm_nobody_else() {
    let checkout = Checkout::new("022");
    let mut node = Node::boot(&image_with_them(&checkout), &Options::default());
    node.wait_ssh(2 * MINUTE);
    node.wait_ssh_command("ros os status --check", 3 * MINUTE);
    let before = others(&node);
    assert!(
        before.iter().all(|(_, state, ..)| state == "ready"),
        "{before:?}"
    );

    // Some of them fail before their start has been told.
    for (name, _, _) in SERVICES {
        node.try_ssh(&format!("ros service start {name}"));
    }

    one_that_eats_is_killed_at_its_limit_and_alone(&mut node);
    one_that_exits_is_told_about(&node);
    one_whose_check_hangs_is_restarted(&node);
    a_flood_stays_within_its_bounds(&node);
    a_killed_runtime_finds_all_of_them_again(&mut node);
    a_stop_ends_all_of_them(&node);

    assert_eq!(others(&node), before);
    node.ssh("ros os status --check");
    // The node ends in order with two of them up.
    for name in ["deaf", "floods"] {
        node.ssh(&format!("ros service start {name}"));
    }
    node.try_ssh("ros os poweroff");
    assert!(node.wait_end(MINUTE).success());
}

fn one_that_eats_is_killed_at_its_limit_and_alone(node: &mut Node) {
    let eats = wait_for(node, "eats", |it| {
        restarts(it) >= 2 && it["state"] == "backoff"
    });
    assert_eq!(eats["exit"]["signal"], 9);
    assert!(
        reason(&eats).starts_with("was killed: it went beyond its memory limit of 16M; starts"),
        "{eats}"
    );
    // Each pause is twice as long as the one before.
    assert!(!reason(&eats).ends_with("after 1 s"), "{eats}");
    // People see it where they look; while it runs again there is nothing to see.
    for command in ["ros ps", "ros service list", "ros os status"] {
        node.wait_ssh_command(&format!("{command} | grep 'memory limit of 16M'"), MINUTE);
    }
    let log = node.ssh("ros logs eats");
    assert!(
        log.contains("hungry") && log.contains("system-runtime: was killed"),
        "{log}"
    );

    let kernel = node.ssh("sudo dmesg");
    let kills: Vec<&str> = kernel
        .lines()
        .filter(|line| line.contains("oom-kill:"))
        .collect();
    assert!(kills.len() >= 2, "{kernel}");
    for kill in kills {
        assert!(kill.contains("task_memcg=/rubus/eats"), "{kill}");
    }
}

fn one_that_exits_is_told_about(node: &Node) {
    let quits = wait_for(node, "quits", |it| {
        restarts(it) >= 2 && it["state"] == "backoff"
    });
    assert_eq!(quits["exit"]["code"], 3);
    assert!(reason(&quits).starts_with("ended with status 3"), "{quits}");
    assert!(node.ssh("ros logs quits").contains("going"));
}

fn one_whose_check_hangs_is_restarted(node: &Node) {
    let mute = wait_for(node, "mute", |it| restarts(it) >= 1);
    assert_ne!(mute["state"], "ready");
    wait_for(node, "mute", |it| {
        reason(it).contains("no answer within 1s")
    });
}

fn a_flood_stays_within_its_bounds(node: &Node) {
    let first = flood(node);
    let said = node.ssh("ros logs -n 5 floods");
    assert_eq!(said.lines().count(), 5, "{said}");
    let end = Instant::now() + MINUTE;
    while flood(node) < first + 20_000 {
        assert!(Instant::now() < end, "the log goes on");
    }
    let log: u64 = node
        .ssh("sudo sh -c 'cat /run/rubus/log/floods.log*' | wc -c")
        .trim()
        .parse()
        .unwrap();
    assert!((100 << 10..=256 << 10).contains(&log), "{log} bytes of log");
    let status = node.ssh("sudo cat /proc/$(pgrep -x system-runtime)/status");
    let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
    let peak: u64 = peak
        .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap();
    assert!(peak < 8 << 10, "the runtime took up to {peak} KiB");
}

fn a_killed_runtime_finds_all_of_them_again(node: &mut Node) {
    let before = services(node);
    let runtime = node.ssh("pgrep -x system-runtime");
    let line = flood(node);
    node.ssh(&format!("sudo kill -9 {runtime}"));
    node.wait_ssh_command("ros service list", MINUTE);
    assert_ne!(node.ssh("pgrep -x system-runtime"), runtime);
    let after = services(node);
    for name in ["deaf", "forks", "floods"] {
        for key in ["pid", "restarts", "started_us", "state"] {
            assert_eq!(after[name][key], before[name][key], "{key} of {name}");
        }
    }
    // Failures are counted on, pauses last as long as they did.
    for name in ["eats", "quits", "mute"] {
        wait_for(node, name, |it| restarts(it) > restarts(&before[name]));
    }
    assert!(flood(node) > line);
}

fn a_stop_ends_all_of_them(node: &Node) {
    assert_eq!(count(node, "sleep 1234"), 3);
    for (name, _, _) in SERVICES {
        node.ssh(&format!("ros service stop {name}"));
    }
    let after = services(node);
    for (name, _, _) in SERVICES {
        assert_eq!(after[name]["state"], "stopped", "{}", after[name]);
    }
    assert_eq!(after["deaf"]["exit"]["signal"], 9);
    for command in ["sleep 1234", "sleep 4321"] {
        assert_eq!(count(node, command), 0, "{command}");
    }
}
