//! The flow of the README on QEMU's own machine, and what a node survives.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rubus_tests::{
    disk::{self, Table},
    image::image,
    node::{Node, Options},
    tools::must,
};
use serde_json::Value;

const MINUTE: Duration = Duration::from_secs(60);
const ALL: [&str; 9] = [
    "console", "docker", "gateway", "mdns", "network", "ntp", "syslog", "udev", "wifi",
];

/// The states of all services of the system, by name; the engine's, of compose
/// files, are tested elsewhere.
fn services(node: &Node) -> BTreeMap<String, Value> {
    let list: Vec<Value> = serde_json::from_str(&node.ssh("ros service list --json")).unwrap();
    list.into_iter()
        .filter(|service| service["kind"] != "compose")
        .map(|service| (service["name"].as_str().unwrap().to_owned(), service))
        .collect()
}

fn pids(node: &Node) -> BTreeMap<String, u64> {
    services(node)
        .into_iter()
        .map(|(name, service)| (name, service["pid"].as_u64().unwrap()))
        .collect()
}

/// Waits until every service is ready, which the node itself tells.
fn wait_ready(node: &mut Node) {
    node.wait_ssh(2 * MINUTE);
    node.wait_ssh_command("ros os status --check", 2 * MINUTE);
}

/// Waits until a function answers, and says what.
fn invoke(node: &Node, function: &str, body: &str) -> String {
    let end = Instant::now() + MINUTE;
    loop {
        let (answer, status) = node.curl(&format!("/function/{function}"), &["-d", body]);
        if status == 200 {
            return answer;
        }
        assert!(Instant::now() < end, "{function}: {status} {answer}");
        thread::sleep(Duration::from_secs(1));
    }
}

fn gateway_user(node: &Node) -> String {
    let secret = |name| {
        node.ssh(&format!(
            "sudo cat /var/lib/rubus/gateway/secrets/basic-auth-{name}"
        ))
    };
    format!("{}:{}", secret("user").trim(), secret("password").trim())
}

/// The names of the functions that the gateway lists.
fn functions(node: &Node) -> Vec<String> {
    let (list, status) = node.curl("/system/functions", &["-u", &gateway_user(node)]);
    assert_eq!(status, 200, "{list}");
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    let mut names: Vec<String> = list
        .iter()
        .map(|function| function["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// Sends a function's description to the gateway.
fn function(node: &Node, method: &str, body: &str) -> u16 {
    let user = gateway_user(node);
    let (_, status) = node.curl(
        "/system/functions",
        &["-u", &user, "-X", method, "-d", body],
    );
    status
}

/// Restarts the node or switches it off.
fn power(node: &Node, action: &str) {
    let output = node.try_ssh(&format!("ros os {action}"));
    // The login ends with the node, which is no success to ssh.
    let status = output.status.code();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(matches!(status, Some(0 | 255)), "{said}");
}

/// What stays the same for as long as the card does.
fn identity(node: &Node) -> String {
    node.ssh(
        "cat /etc/machine-id /etc/hostname; \
         sudo sh -c 'cat /var/lib/rubus/console/ssh/*.pub' || sudo find /var/lib/rubus/console",
    )
}

/// Looks at the disk of a machine that is off.
fn check_disk(state: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let (raw, data) = (folder.path().join("raw"), folder.path().join("data"));
    disk::raw(state, &raw);
    let said = must(Command::new("sgdisk").arg("-v").arg(&raw));
    assert!(said.contains("No problems found"), "{said}");

    let table = Table::of(&raw);
    let [boot, a, b, rest] = table.partitions[..] else {
        panic!("{table:?}");
    };
    assert_eq!(a.size, b.size);
    assert!(boot.start < a.start && a.start < b.start && b.start < rest.start);
    // Nothing of the card is left but what alignment costs.
    assert!((4 << 30) - (rest.start + rest.size) <= 4 << 20, "{table:?}");
    table.extract(4, &data);
    must(Command::new("e2fsck").args(["-f", "-n"]).arg(&data));
}

#[test]
fn a_first_boot_leads_to_functions_and_a_second_one_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.qcow2");
    let image = image("qemu-virt");
    let options = Options {
        state: Some(state.clone()),
        ..Options::default()
    };
    let mut node = Node::boot(&image, &options);

    // Everything starts, and the node can tell how.
    wait_ready(&mut node);
    assert!(!node.console().contains("rror"), "{}", node.console());
    let found = services(&node);
    assert_eq!(found.keys().collect::<Vec<_>>(), ALL);
    for (name, service) in &found {
        let log = || node.ssh(&format!("ros logs -n 40 {name}"));
        assert_eq!(service["state"], "ready", "{name}\n{}", log());
        // dockerd gives its containerd 15 s, which a busy host may not have.
        if *name != "docker" {
            assert_eq!(service["restarts"], 0, "{name}\n{}", log());
        }
    }
    let ps = node.ssh("ros ps");
    for name in ALL {
        assert!(ps.lines().any(|line| line.starts_with(name)), "{ps}");
    }
    let timings = node.ssh("ros os status --timings");
    for word in [
        "kernel",
        "mount the data partition",
        "switch to the system root",
        "docker",
    ] {
        assert!(timings.contains(word), "no {word:?} in\n{timings}");
    }
    let kernel = node.ssh("sudo dmesg");
    for name in ALL {
        let line = format!("system-runtime: {name} is ready (");
        assert_eq!(kernel.matches(&line).count(), 1, "{name}\n{kernel}");
    }
    let version: Value = serde_json::from_str(&node.ssh("ros os version --json")).unwrap();
    assert_eq!(version["board"], "qemu-virt");
    assert_eq!(version["slot"], "A");
    assert_eq!(
        node.try_ssh("ros service restart nope").status.code(),
        Some(1)
    );
    assert_eq!(node.try_ssh("ros nonsense").status.code(), Some(2));

    // Only the key lets people in, and / cannot be written.
    assert_eq!(node.ssh("id -un").trim(), "rubus");
    let passwords = node.ssh("sudo cut -d: -f2 /etc/shadow");
    assert!(
        passwords.lines().all(|hash| hash.starts_with(['!', '*'])),
        "{passwords}"
    );
    assert!(!node.try_ssh("sudo touch /usr/x").status.success());

    engine_works(&node);
    functions_answer(&node);
    gateway_asks_for_a_password(&node);
    services_are_supervised(&mut node);
    services_live_on_without_the_runtime(&mut node);

    // The node restarts by itself, and is the same afterwards.
    node.ssh("docker run -d --name kept --restart always rubus/echoit:0.1.0");
    node.ssh("echo kept > note && sync");
    let before = identity(&node);
    power(&node, "reboot");
    node.wait_console("restarts", MINUTE);
    wait_ready(&mut node);
    assert_eq!(identity(&node), before);
    assert_eq!(node.ssh("cat note").trim(), "kept");
    node.wait_ssh_command("docker ps --format '{{.Names}}' | grep -x kept", MINUTE);
    let mut expected = vec!["base64", "echoit", "mine", "nodeinfo", "wordcount"];
    expected.sort_unstable();
    assert_eq!(functions(&node), expected);
    assert_eq!(invoke(&node, "mine", "again"), "again");

    // And it ends by itself, with everything in order.
    power(&node, "poweroff");
    assert!(node.wait_end(MINUTE).success());
    check_disk(&state);
}

fn engine_works(node: &Node) {
    let server = node.ssh("docker version --format '{{.Server.Version}}'");
    assert!(server.starts_with("26.1.5"), "{server}");
    assert_eq!(
        node.ssh("docker info --format '{{.Driver}} {{.CgroupVersion}} {{.LiveRestoreEnabled}}'")
            .trim(),
        "overlay2 2 true"
    );
    // The sample functions are there without a registry.
    let images = node.ssh("docker images --format '{{.Repository}}'");
    for name in ["base64", "echoit", "nodeinfo", "wordcount"] {
        assert!(
            images.lines().any(|line| line == format!("rubus/{name}")),
            "{images}"
        );
    }
    // A folder means the same to the engine as to who logs in, both ways.
    let seen = node.ssh(
        "mkdir -p x && echo from the console > x/a && \
         docker run --rm -v /home/rubus/x:/x --user 0 --entrypoint sh rubus/echoit:0.1.0 \
             -c 'cat /x/a && echo from the container > /x/b' && \
         cat x/b",
    );
    assert_eq!(seen, "from the console\nfrom the container\n");
}

fn functions_answer(node: &Node) {
    assert_eq!(invoke(node, "echoit", "hello"), "hello");
    assert_eq!(invoke(node, "base64", "hello").trim(), "aGVsbG8=");
    let count = invoke(node, "wordcount", "one two three");
    assert_eq!(
        count.split_whitespace().collect::<Vec<_>>(),
        ["0", "3", "13"]
    );
    let info = invoke(node, "nodeinfo", "");
    assert!(info.contains("aarch64"), "{info}");
    assert_eq!(node.curl("/healthz", &[]).1, 200);
    assert_eq!(node.curl("/function/absent", &["-d", "x"]).1, 404);
}

fn gateway_asks_for_a_password(node: &Node) {
    for arguments in [&[][..], &["-u", "admin:admin"], &["-u", ":"]] {
        assert_eq!(node.curl("/system/functions", arguments).1, 401);
    }
    let mine = r#"{"service": "mine", "image": "rubus/echoit:0.1.0"}"#;
    let (_, status) = node.curl("/system/functions", &["-d", mine]);
    assert_eq!(status, 401);
    assert!(!functions(node).contains(&"mine".to_owned()));

    let other = r#"{"service": "other", "image": "rubus/wordcount:0.1.0"}"#;
    for body in [mine, other] {
        assert!(matches!(function(node, "POST", body), 200 | 202));
    }
    assert_eq!(invoke(node, "mine", "a b"), "a b");
    invoke(node, "other", "a b");
    assert!(matches!(
        function(node, "DELETE", r#"{"functionName": "other"}"#),
        200 | 202
    ));
    assert_eq!(
        functions(node),
        ["base64", "echoit", "mine", "nodeinfo", "wordcount"]
    );
    assert_eq!(node.curl("/function/other", &["-d", "x"]).1, 404);
    assert_eq!(function(node, "POST", "not json"), 400);
}

fn services_are_supervised(node: &mut Node) {
    let before = pids(node);
    node.ssh(&format!("sudo kill -9 {}", before["mdns"]));
    node.wait_ssh_command(
        "ros service list --json | tr -d ' \\n' | \
         grep -q '\"name\":\"mdns\"[^}]*\"state\":\"ready\"[^}]*\"restarts\":1'",
        MINUTE,
    );
    node.ssh("ros service restart ntp");
    let after = pids(node);
    for name in ALL {
        let restarted = matches!(name, "mdns" | "ntp");
        assert_eq!(before[name] != after[name], restarted, "{name}");
    }

    node.ssh("ros service stop ntp");
    assert_eq!(services(node)["ntp"]["state"], "stopped");
    assert_eq!(
        node.try_ssh("ros service exec ntp -- chronyc tracking")
            .status
            .code(),
        Some(1)
    );
    node.ssh("ros service start ntp");
    assert!(
        node.ssh("ros service exec ntp -- chronyc -n tracking")
            .contains("Stratum")
    );
    let said = node.ssh("ros logs --json -n 3 docker");
    assert_eq!(said.lines().count(), 3, "{said}");
    for line in said.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(
            line["text"].is_string() && line["time"].is_string(),
            "{line}"
        );
    }
    let status = node
        .try_ssh("ros service exec console -- sh -c 'exit 7'")
        .status;
    assert_eq!(status.code(), Some(7));
}

fn services_live_on_without_the_runtime(node: &mut Node) {
    let before = services(node);
    let runtime = node.ssh("pgrep -x system-runtime");
    node.ssh(&format!("sudo kill -9 {runtime}"));
    assert_eq!(invoke(node, "echoit", "still here"), "still here");
    node.wait_ssh_command("ros os status --check", MINUTE);
    assert_ne!(node.ssh("pgrep -x system-runtime"), runtime);
    let after = services(node);
    for name in ALL {
        for key in ["pid", "restarts", "started_us"] {
            assert_eq!(after[name][key], before[name][key], "{key} of {name}");
        }
    }
    // It is theirs again: their ends are seen, and their output.
    node.ssh("ros service restart mdns");
    assert!(!node.ssh("ros logs -n 1 docker").is_empty());
}

#[test]
fn power_cuts_at_any_moment_leave_a_node_that_boots() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.qcow2");
    let image = image("qemu-virt");
    let options = Options {
        state: Some(state.clone()),
        ..Options::default()
    };

    // In the middle of the first boot, while filesystems are made.
    let mut node = Node::boot(
        &image,
        &Options {
            append: Some("loglevel=7"),
            ..options.clone()
        },
    );
    node.wait_console("complete the partition table", MINUTE);
    thread::sleep(moment(600));
    node.cut_power();

    // While the engine is set up, and while something writes.
    for moment in [moment(8000), moment(3000)] {
        let mut node = Node::boot(&image, &options);
        node.wait_ssh(2 * MINUTE);
        let mut writer = node.ssh_command();
        let mut writer = writer
            .arg("while echo $((i += 1)) > note.new && mv note.new note; do :; done")
            .spawn()
            .unwrap();
        thread::sleep(moment);
        node.cut_power();
        let _ = writer.kill();
        let _ = writer.wait();
    }

    let mut node = Node::boot(&image, &options);
    wait_ready(&mut node);
    node.ssh("echo whole > after && rm -f note note.new");
    assert_eq!(invoke(&node, "echoit", "whole"), "whole");
    power(&node, "poweroff");
    assert!(node.wait_end(MINUTE).success());
    check_disk(&state);
}

/// Any moment up to a number of milliseconds; told, so that it can be found
/// again.
fn moment(most: u64) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let moment = Duration::from_millis(RandomState::new().hash_one(most) % most);
    println!("the power is cut after {moment:?}");
    moment
}
