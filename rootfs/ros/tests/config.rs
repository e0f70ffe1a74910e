//! `ros config`, from outside.

#[allow(dead_code, reason = "each file of tests uses its part")]
mod node;

use std::io::Write;
use std::process::Stdio;

use node::{Node, SERVICES, stderr, stdout};

const STATE: &str = r#"{"name":"ntp","description":"","kind":"daemon","enabled":true,
    "state":"ready","pid":9,"started_us":5000000,"ready_us":6500000,"restarts":0,"exit":null,
    "memory":null,"reason":""}"#;

const NTP: &str = r#"{"description":"d","kind":"daemon","command":["c"],"after":["network"]}"#;
const NETWORK: &str = r#"{"description":"d","kind":"daemon","command":["c"]}"#;

/// What the runtime is told at each change.
const READ_SETTINGS: &str = "POST /v1/settings/reload";

/// A node with two services that depend on settings.
fn node() -> Node {
    let node = Node::new(&[
        ("GET /v1/services/ntp", 200, STATE),
        ("POST /v1/services/ntp/restart", 200, STATE),
        ("POST /v1/services/ntp/start", 200, STATE),
        ("POST /v1/services/ntp/stop", 200, STATE),
        (READ_SETTINGS, 200, r#"{"trial_ends_us": null}"#),
    ]);
    with_services(&node);
    node
}

/// Its services and settings.
fn with_services(node: &Node) {
    for (name, settings) in [("ntp", "[\"ntp\"]"), ("mdns", "[\"hostname\"]")] {
        node.write(
            &format!("usr/lib/rubus/services/{name}/service.json"),
            &format!(
                r#"{{"description":"d","kind":"daemon","command":["c"],"settings":{settings}}}"#
            ),
        );
    }
    node.write("usr/share/rubus/config.toml", "hostname = \"image\"\n");
    node.write("run/rubus/config.json", "{}");
}

/// A node whose runtime sees settings on trial.
fn trying_node() -> Node {
    let node = Node::new(&[
        ("GET /v1/services/ntp", 200, STATE),
        ("POST /v1/services/ntp/restart", 200, STATE),
        ("GET /v1/services", 200, "[]"),
        (READ_SETTINGS, 200, r#"{"trial_ends_us": 9}"#),
    ]);
    with_services(&node);
    node
}

#[test]
fn settings_are_shown_with_their_defaults() {
    let node = node();
    assert_eq!(node.prints("config get hostname"), "image\n");
    assert_eq!(node.prints("config get ssh.port"), "22\n");
    assert_eq!(
        node.prints("config get watchdog"),
        "enabled = true\ntimeout = 15\n"
    );
    assert_eq!(node.prints("config get ntp.servers"), "[]\n");
    assert_eq!(node.json("config get --json")["timezone"], "UTC");
}

#[test]
fn a_change_restarts_the_services_that_it_concerns() {
    let node = node();
    assert_eq!(
        node.prints("config set --dry-run ntp.servers a b"),
        "would restart ntp\n"
    );
    assert!(node.requests().is_empty());
    assert_eq!(node.prints("config set ntp.servers a b"), "ntp restarted\n");
    assert_eq!(
        node.requests(),
        [
            READ_SETTINGS,
            "GET /v1/services/ntp",
            "POST /v1/services/ntp/restart"
        ]
    );
    assert_eq!(node.prints("config get ntp.servers"), "[\"a\",\"b\"]\n");
    assert_eq!(node.json("config get --json ntp")["servers"][1], "b");
    assert_eq!(
        node.prints("config set ntp.servers a b"),
        "nothing changed\n"
    );
    assert_eq!(node.prints("config unset ntp.servers"), "ntp restarted\n");
    assert_eq!(
        node.prints("config set services.ntp false"),
        "ntp stopped\n"
    );
    assert_eq!(
        node.prints("config set watchdog.timeout 10"),
        "watchdog.timeout counts from the next boot: `ros os reboot`\n"
    );
    let effects = node.json("config set --json timezone Europe/Berlin");
    assert_eq!(effects["changed"][0], "timezone");
}

#[test]
fn an_option_is_one_wherever_it_stands() {
    let node = node();
    for line in [
        "config set --dry-run ntp.servers a",
        "config set ntp.servers --dry-run a",
        "config set ntp.servers a --dry-run",
    ] {
        assert_eq!(node.prints(line), "would restart ntp\n", "{line}");
    }
    assert!(node.requests().is_empty());
    let output = node.run("config set hostname -x");
    assert_eq!(output.status.code(), Some(2));
    assert!(node::stderr(&output).contains("'-- -x'"));
    node.prints("config set kernel.sysctl.\"vm.x\" -1");
    assert_eq!(node.prints("config get kernel.sysctl.\"vm.x\""), "-1\n");
    node.prints("config set kernel.sysctl.\"vm.x\" -- -y");
    assert_eq!(node.prints("config get kernel.sysctl.\"vm.x\""), "-y\n");
}

#[test]
fn a_wrong_change_is_one_sentence_and_nothing_is_written() {
    let node = node();
    for (line, words) in [
        (
            "config get hostnam",
            "there is no key `hostnam`; did you mean `hostname`?",
        ),
        ("config set ssh.prot 1", "did you mean `ssh.port`?"),
        (
            "config set ssh.port 70000",
            "`ssh.port`: 70000 is out of range; use 1 to 65535",
        ),
        ("config set ssh.port x", "`ssh.port`: \"x\" is not a number"),
        (
            "config unset ssh.port",
            "`ssh.port` is not set on this node",
        ),
        ("config get proxy.http", "`proxy.http` is not set"),
        (
            "config validate /nonexistent.toml",
            "cannot read /nonexistent.toml",
        ),
    ] {
        let error = node.fails(line);
        assert!(error.contains(words), "{line}: {error}");
    }
    assert!(node.requests().is_empty());
    assert!(!node.path("var/lib/rubus/config/config.toml").exists());
}

#[test]
fn what_was_stored_is_told_when_the_service_cannot_be_restarted() {
    let node = node();
    let error = node.fails("config set hostname node1");
    assert!(error.starts_with("ros: stored, but cannot"), "{error}");
    assert_eq!(node.prints("config get hostname"), "node1\n");
}

#[test]
fn secrets_are_hidden_unless_asked_for() {
    let node = node();
    let key = "network.wifi.networks.home.password";
    node.run(&format!("config set {key} hunter2hunter2"));
    for line in [
        "config export",
        "config get",
        "config get --json",
        &format!("config get {key}"),
    ] {
        let text = node.prints(line);
        assert!(
            text.contains("(hidden)") && !text.contains("hunter2"),
            "{text}"
        );
    }
    assert_eq!(
        node.prints("config export --private"),
        "hostname = \"image\"\n\n[network.wifi.networks.home]\npassword = \"hunter2hunter2\"\n"
    );
    assert_eq!(
        node.prints(&format!("config get --private {key}")),
        "hunter2hunter2\n"
    );
}

#[test]
fn a_file_is_checked_and_merged() {
    let node = node();
    node.write("good.toml", "timezone = \"Europe/Berlin\"\n");
    node.write("bad.toml", "\n[ssh]\nprot = 1\n");
    let path = |name: &str| node.path(name).display().to_string();
    let (good, bad) = (path("good.toml"), path("bad.toml"));
    assert_eq!(
        node.prints(&format!("config validate {good}")),
        format!("{good} is valid\n")
    );
    for verb in ["validate", "merge"] {
        assert_eq!(
            node.fails(&format!("config {verb} {bad}")),
            format!("ros: {bad}:3: `ssh.prot`: there is no such key; did you mean `port`?")
        );
    }
    assert_eq!(
        node.prints(&format!("config merge {good}")),
        "",
        "it counts at once"
    );
    assert_eq!(node.prints("config get timezone"), "Europe/Berlin\n");

    let mut child = node
        .command("config merge -")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"ssh.port = 23\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (stdout(&output), stderr(&output)),
        (String::new(), String::new())
    );
    assert_eq!(node.prints("config get ssh.port"), "23\n");
}

#[test]
fn the_schema_and_the_list_say_every_key() {
    let node = node();
    assert_eq!(node.json("config schema")["title"], "Settings");
    let list = node.prints("config schema --list");
    assert!(list.starts_with("KEY "), "{list}");
    assert!(
        list.contains("\nnetwork.interfaces.NAME.addresses "),
        "{list}"
    );
}

#[test]
fn settings_on_trial_are_kept_when_they_are_confirmed() {
    let node = trying_node();
    let stored = node.path("var/lib/rubus/config/config.toml");
    let said = node.prints("config set --try 60s ntp.servers a");
    let seconds = said
        .strip_prefix("ntp restarted\non trial: taken back in ")
        .and_then(|rest| rest.strip_suffix(" s unless you keep it with `ros config confirm`\n"))
        .unwrap_or_else(|| panic!("{said}"));
    assert!((50..=60).contains(&seconds.parse().unwrap()), "{said}");
    // The runtime hears of it before services see it.
    assert_eq!(node.requests()[0], READ_SETTINGS);
    assert!(!stored.exists());

    let shown = node.run("config get ntp.servers");
    assert_eq!(stdout(&shown), "[\"a\"]\n");
    assert!(stderr(&shown).starts_with("ros: on trial for another "));
    let status = node.json("os status --json");
    assert_eq!(status["trial"]["keys"][0], "ntp.servers");
    assert!(status["trial"]["seconds_left"].as_u64().unwrap() <= 60);

    for line in [
        "config set timezone Asia/Tokyo",
        "config set --try 9s ntp.servers b",
    ] {
        let error = node.fails(line);
        assert!(
            error.contains("settings are on trial (ntp.servers)"),
            "{error}"
        );
    }
    assert_eq!(node.prints("config confirm"), "kept: ntp.servers\n");
    assert_eq!(node.prints("config get ntp.servers"), "[\"a\"]\n");
    assert!(std::fs::read_to_string(stored).unwrap().contains("servers"));
    for line in ["config confirm", "config revert"] {
        let error = node.fails(line);
        assert!(error.contains("no settings are on trial"), "{error}");
    }
}

#[test]
fn settings_on_trial_can_be_taken_back_at_once() {
    let node = trying_node();
    node.run("config set --try 60s ntp.servers a");
    assert_eq!(
        node.prints("config revert"),
        "ntp restarted\ntaken back: ntp.servers\n"
    );
    assert_eq!(node.prints("config get ntp.servers"), "[]\n");
}

#[test]
fn nothing_is_tried_that_nobody_would_take_back() {
    for node in [node(), Node::without_runtime()] {
        with_services(&node);
        let error = node.fails("config set --try 60s ntp.servers a");
        assert!(error.contains("nothing was changed"), "{error}");
        assert_eq!(node.prints("config get ntp.servers"), "[]\n");
    }
    let error = trying_node().fails("config set --try 60s kernel.modules loop");
    assert!(error.contains("counts from the next boot"), "{error}");
    for line in [
        "config set --try 60 ntp.servers a",
        "config set --try 1s ntp.servers a",
        "config set --try 60s --dry-run ntp.servers a",
    ] {
        assert_eq!(node().run(line).status.code(), Some(2), "{line}");
    }
}

#[test]
fn services_are_turned_on_and_off_for_good() {
    let node = node();
    assert_eq!(node.prints("service disable ntp"), "ntp stopped\n");
    assert_eq!(node.prints("config get services.ntp"), "false\n");
    assert_eq!(node.prints("service enable ntp"), "ntp started\n");
    assert_eq!(
        node.prints("service disable --dry-run ntp mdns"),
        "would stop ntp\nwould stop mdns\n"
    );
    let error = node.fails("service disable npt");
    assert!(
        error.contains("no service is called npt (did you mean ntp?)"),
        "{error}"
    );
    // One that waits for it is named.
    node.write(
        "usr/lib/rubus/services/gateway/service.json",
        r#"{"description":"d","kind":"daemon","command":["c"],"after":["ntp"]}"#,
    );
    assert_eq!(
        node.prints("config set services.ntp false"),
        "ntp stopped\ngateway waits for ntp: it will not start at the next boot\n"
    );
}

#[test]
fn a_service_is_looked_into() {
    let node = Node::new(&[
        ("GET /v1/services", 200, SERVICES),
        ("GET /v1/services/ntp", 200, STATE),
        ("GET /v1/services/network", 200, STATE),
        ("GET /v1/services/ntp/definition", 200, NTP),
        ("GET /v1/services/network/definition", 200, NETWORK),
        ("GET /v1/services/coldplug/definition", 200, NETWORK),
        ("GET /v1/services/nats/definition", 200, NTP),
    ]);
    let text = node.prints("service inspect ntp");
    assert!(text.starts_with("Name         ntp\n"), "{text}");
    assert!(text.contains("\nWaits for    network (ready)\n"), "{text}");
    let json = node.json("service inspect --json network");
    assert_eq!(json["needed_by"], serde_json::json!(["ntp", "nats"]));
    let error = node.fails("service inspect npt");
    assert!(error.contains("did you mean ntp?"), "{error}");
}

#[test]
fn values_are_completed_in_a_shell() {
    let node = Node::new(&[("GET /v1/services", 200, SERVICES)]);
    with_services(&node);
    node.write("usr/share/zoneinfo/Europe/Berlin", "");
    let ros = node.command("").get_program().to_owned();
    let folder = std::path::Path::new(&ros).parent().unwrap().to_owned();
    // A shell in which `ros` speaks to this node, asked as it asks itself.
    let completed = |words: &str| {
        let script = format!(
            "ros() {{ command ros --socket {socket} --host {host} \"$@\"; }}
             source <(ros completions bash)
             COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
             _ros_and_node ros \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"
             echo \"${{COMPREPLY[@]}}\"",
            socket = node.path("socket").display(),
            host = node.path("").display(),
        );
        let output = std::process::Command::new("bash")
            .args(["-c", &script])
            .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
            .output()
            .unwrap();
        assert_eq!(stderr(&output), "", "{words}");
        stdout(&output).trim().to_owned()
    };
    assert_eq!(completed("ros config set timezone Eu"), "Europe/Berlin");
    assert_eq!(completed("ros config set services.ntp ''"), "false true");
    assert_eq!(completed("ros service restart nt"), "ntp");
    // What the script knows itself.
    assert_eq!(completed("ros conf"), "config");
    assert_eq!(completed("ros config set hostn"), "hostname");
}
