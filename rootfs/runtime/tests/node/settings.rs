//! Services whose settings change.

use std::{fs, os::unix::fs::PermissionsExt};

use rubus_service::status::State;
use serde_json::{Value, json};

use crate::harness::{Node, wait_for};

const FOREVER: &str = "while true; do sleep 1; done";

fn read_settings(node: &Node) -> Value {
    let (status, body) = node.request("POST", "/v1/settings/reload", "");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn one_that_can_reload_is_told_and_goes_on() {
    let mut node = Node::new();
    node.add(
        "reloads",
        "trap 'echo read anew' HUP; echo up; while true; do sleep 0.1; done",
        "reload_signal = \"SIGHUP\"\n",
    );
    node.boot();
    let before = node.wait_state("reloads", State::Ready);
    wait_for("it listens", || node.log("reloads") == ["up"]);
    let (status, body) = node.request("POST", "/v1/services/reloads/reload", "");
    assert_eq!(status, 200, "{body}");
    wait_for("it was told", || {
        node.log("reloads")
            .last()
            .is_some_and(|it| it == "read anew")
    });
    let after = node.status("reloads");
    assert_eq!((after.pid, after.restarts), (before.pid, 0));
}

#[test]
fn one_that_cannot_is_restarted_and_one_that_is_off_stays_off() {
    let mut node = Node::new();
    node.add("plain", FOREVER, "");
    node.add("off", FOREVER, "enabled = false\n");
    node.boot();
    let before = node.wait_state("plain", State::Ready);
    let (status, body) = node.request("POST", "/v1/services/plain/reload", "");
    assert_eq!(status, 200, "{body}");
    assert_ne!(node.wait_state("plain", State::Ready).pid, before.pid);
    let (status, body) = node.request("POST", "/v1/services/off/reload", "");
    assert_eq!(status, 200, "{body}");
    assert_eq!(node.status("off").state, State::Stopped);
}

#[test]
fn what_a_service_is_defined_as_is_told() {
    let mut node = Node::new();
    node.add("plain", FOREVER, "after = [\"other\"]\n");
    node.boot();
    let (status, body) = node.request("GET", "/v1/services/plain/definition", "");
    assert_eq!(status, 200, "{body}");
    let service: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(service["after"], json!(["other"]));
    let (status, _) = node.request("GET", "/v1/services/none/definition", "");
    assert_eq!(status, 404);
}

#[test]
fn which_services_are_enabled_and_the_name_of_the_node_are_read_again() {
    let mut node = Node::new();
    node.add("plain", FOREVER, "");
    node.boot();
    let before = node.wait_state("plain", State::Ready);
    assert!(before.enabled);
    node.write_config(&json!({"services": {"plain": false}, "hostname": "renamed"}));
    assert_eq!(read_settings(&node), json!({"trial_ends_us": null}));
    let after = node.status("plain");
    assert!(!after.enabled);
    assert_eq!(after.pid, before.pid, "it runs until it is stopped");
    let said = |file: &str| fs::read_to_string(node.etc().join(file)).unwrap();
    assert_eq!(said("hostname"), "renamed\n");
    assert!(said("hosts").contains("127.0.1.1\trenamed\n"));
    let uts = format!("/proc/{}/ns/uts", node.runtime_pid());
    let name = std::process::Command::new("nsenter")
        .args([&format!("--uts={uts}"), "uname", "--nodename"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&name.stdout), "renamed\n");

    // Settings that cannot be read change nothing.
    fs::write(node.run_dir().join("config.json"), "{").unwrap();
    read_settings(&node);
    assert!(!node.status("plain").enabled);
}

/// Microseconds since the kernel started.
fn now_us() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
    (seconds * 1e6) as u64
}

/// A node with settings on trial that end after `lasts_us`; taking them back
/// writes a line to `taken` and restarts the service.
fn on_trial(lasts_us: u64) -> Node {
    let mut node = Node::new();
    node.add("plain", FOREVER, "");
    node.boot();
    node.wait_state("plain", State::Ready);
    let trial = json!({"layer": {}, "keys": ["k"], "ends_us": now_us() + lasts_us});
    let mut over = trial.clone();
    over["taken_back"] = json!({"changed": ["k"], "stop": [], "start": [],
        "restart": ["plain", "gone"], "reload": [], "reboot": []});
    let file = node.run_dir().join("trial.json");
    let script = format!(
        "#!/bin/sh\n[ \"$*\" = expire ] || exit 1\necho >> {}\n\
         cat > {file}.new <<'END'\n{over}\nEND\nmv {file}.new {file}\n",
        node.shared().join("taken").display(),
        file = file.display(),
    );
    fs::write(node.configure(), script).unwrap();
    fs::set_permissions(node.configure(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&file, trial.to_string()).unwrap();
    assert_eq!(read_settings(&node)["trial_ends_us"], trial["ends_us"]);
    node
}

fn times_taken(node: &Node) -> usize {
    fs::read(node.shared().join("taken")).map_or(0, |it| it.len())
}

fn trial(node: &Node) -> std::path::PathBuf {
    node.run_dir().join("trial.json")
}

#[test]
fn settings_on_trial_are_taken_back_and_their_services_restart() {
    let node = on_trial(1_500_000);
    let before = node.status("plain");
    assert_eq!(times_taken(&node), 0);
    wait_for("it is over", || !trial(&node).exists());
    assert_eq!(times_taken(&node), 1);
    wait_for("it restarted", || {
        let status = node.status("plain");
        status.state == State::Ready && status.pid != before.pid
    });
    assert_eq!(read_settings(&node), json!({"trial_ends_us": null}));
    assert_eq!(times_taken(&node), 1);
}

#[test]
fn settings_on_trial_are_taken_back_by_the_next_runtime() {
    let mut node = on_trial(500_000);
    let before = node.status("plain");
    node.kill_runtime();
    std::thread::sleep(std::time::Duration::from_millis(800));
    assert_eq!(times_taken(&node), 0);
    node.boot();
    wait_for("it is over", || !trial(&node).exists());
    assert_eq!(times_taken(&node), 1);
    wait_for("it restarted", || {
        let status = node.status("plain");
        status.state == State::Ready && status.pid != before.pid
    });
}

#[test]
fn settings_that_were_confirmed_stay() {
    let node = on_trial(700_000);
    fs::remove_file(trial(&node)).unwrap();
    read_settings(&node);
    std::thread::sleep(std::time::Duration::from_millis(1200));
    assert_eq!(times_taken(&node), 0);
}
