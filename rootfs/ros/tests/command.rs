//! The built command, from outside.

mod node;

use std::process::Stdio;

use node::{BOOT, LOG, Node, SERVICES, stderr, stdout};

#[test]
fn services_are_listed_in_a_table() {
    let node = Node::usual();
    assert_eq!(
        node.prints("service list"),
        "\
NAME      STATE    ENABLED  KIND     DESCRIPTION
network   ready    yes      daemon   Addresses and routes
ntp       backoff  yes      daemon   Network time
coldplug  done     yes      oneshot  Devices that are there at boot
nats      stopped  no       daemon   Messages

ntp: ended with status 1
"
    );
}

#[test]
fn ps_shows_what_runs_or_keeps_failing_by_both_its_names() {
    let node = Node::usual();
    for line in ["ps", "service ps"] {
        let text = node.prints(line);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("NAME     STATE    PID  UP "), "{text}");
        assert!(lines[1].starts_with("network  ready     71  "), "{text}");
        assert!(lines[1].contains("  2.0 MiB "), "{text}");
        assert!(lines[2].starts_with("ntp      backoff "), "{text}");
        assert_eq!(lines[3..], ["", "ntp: ended with status 1"], "{text}");
    }
}

#[test]
fn listings_are_json_when_asked() {
    let node = Node::usual();
    let all: serde_json::Value = serde_json::from_str(SERVICES).unwrap();
    assert_eq!(node.json("service list --json"), all);
    let running = serde_json::json!([all[0], all[1]]);
    assert_eq!(node.json("ps --json"), running);
    let boot: serde_json::Value = serde_json::from_str(BOOT).unwrap();
    assert_eq!(node.json("os status --timings --json"), boot);
    assert_eq!(node.prints("logs network --json"), LOG);
}

#[test]
fn nothing_but_a_terminal_gets_colours() {
    assert!(!Node::usual().prints("service list").contains('\x1b'));
}

#[test]
fn a_log_is_when_and_what() {
    let node = Node::usual();
    let lines = "2026-11-21T12:00:00.000Z one\n2026-11-21T12:00:01.000Z two\n";
    assert_eq!(node.prints("logs network"), lines);
    assert_eq!(node.prints("service logs network"), lines);
}

#[test]
fn a_log_that_is_followed_has_no_end_but_that_of_the_runtime() {
    let node = Node::usual();
    let output = node.run("logs -f --tail 2 network");
    assert_eq!(stdout(&output).lines().count(), 2);
    assert!(stderr(&output).starts_with("ros: the log of network broke off"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_reader_that_has_enough_of_a_log_is_no_failure() {
    let node = Node::usual();
    let mut child = node
        .command("logs network")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_misspelt_service_is_answered_with_the_one_that_was_meant() {
    let node = Node::usual();
    let expected =
        "ros: no service is called ntpp (did you mean ntp?); `ros service list` shows all";
    for line in [
        "logs ntpp",
        "service start ntpp",
        "service stop ntpp",
        "service restart ntpp",
        "service exec ntpp -- true",
    ] {
        assert_eq!(node.fails(line), expected, "{line}");
    }
}

#[test]
fn services_are_started_one_after_the_other() {
    let node = Node::new(&[
        (
            "POST /v1/services/ntp/start",
            200,
            r#"{"name":"ntp","description":"","kind":"daemon","enabled":true,"state":"ready",
                "pid":9,"started_us":5000000,"ready_us":6500000,"restarts":0,"exit":null,
                "memory":null,"reason":""}"#,
        ),
        (
            "POST /v1/services/nats/start",
            409,
            r#"{"error":"nats ended with status 3; `ros logs nats` shows why"}"#,
        ),
    ]);
    let output = node.run("service start ntp nats network");
    assert_eq!(stdout(&output), "ntp is ready after 1.5 s\n");
    assert_eq!(
        stderr(&output),
        "ros: nats ended with status 3; `ros logs nats` shows why\n"
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        node.requests(),
        [
            "POST /v1/services/ntp/start",
            "POST /v1/services/nats/start"
        ]
    );
}

#[test]
fn a_service_that_does_not_run_cannot_be_entered() {
    let node = Node::new(&[(
        "GET /v1/services/ntp",
        200,
        r#"{"name":"ntp","description":"","kind":"daemon","enabled":true,"state":"stopped",
            "pid":null,"started_us":null,"ready_us":null,"restarts":0,"exit":null,
            "memory":null,"reason":""}"#,
    )]);
    assert_eq!(
        node.fails("service exec ntp -- true"),
        "ros: ntp does not run (it is stopped); start it with `ros service start ntp`"
    );
}

#[test]
fn a_version_is_that_of_the_image() {
    let node = Node::without_runtime();
    assert_eq!(
        node.prints("os version"),
        "Rubus 0.1.0 for rpi4, build 5f0c2a91\nSlot      B\nKernel    6.12.57\n"
    );
    let json = node.json("os version --json");
    assert_eq!(json["board"], "rpi4");
    assert_eq!(json["slot"], "B");
}

#[test]
fn a_status_names_what_is_not_ready_and_is_no_failure() {
    let node = Node::usual();
    let text = node.prints("os status");
    assert!(text.starts_with("Rubus 0.1.0 for rpi4, build 5f0c2a91\nSlot      B\n"));
    assert!(
        text.contains("\nMemory    100.0 MiB of 1000.0 MiB used\n"),
        "{text}"
    );
    assert!(text.contains("\nData      "), "{text}");
    assert!(
        text.ends_with(
            "Services  2 ready, 1 not ready\n\n\
             NOT READY  STATE    REASON\n\
             ntp        backoff  ended with status 1\n"
        ),
        "{text}"
    );
    let json = node.json("os status --json");
    assert_eq!(json["services"]["ready"], 2);
    assert_eq!(json["services"]["not_ready"][0]["name"], "ntp");
}

#[test]
fn a_check_fails_when_something_is_not_ready() {
    let node = Node::usual();
    assert_eq!(node.run("os status --check").status.code(), Some(1));
    let empty = Node::new(&[("GET /v1/services", 200, "[]")]);
    assert_eq!(empty.run("os status --check").status.code(), Some(0));
}

#[test]
fn a_status_without_the_runtime_tells_the_rest_and_fails() {
    let node = Node::without_runtime();
    let output = node.run("os status");
    assert!(stdout(&output).ends_with("Services  unknown, system-runtime does not answer\n"));
    assert!(stderr(&output).starts_with("ros: system-runtime does not run"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_boot_is_drawn_to_eighty_columns() {
    let text = Node::usual().prints("os status --timings");
    assert!(text.starts_with("STAGE      STEP "), "{text}");
    assert!(text.contains("\nservice    docker "), "{text}");
    assert!(
        text.contains("\nearly modules: passed over nvme\n"),
        "{text}"
    );
    assert!(text.ends_with("ready after 9.8 s; the slowest was docker, 7.2 s\n"));
    assert!(text.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn a_reboot_says_what_it_waits_for() {
    let node = Node::new(&[
        ("GET /v1/services", 200, SERVICES),
        ("POST /v1/power", 202, ""),
    ]);
    assert_eq!(
        node.prints("os reboot"),
        "rebooting once these have stopped: network\n"
    );
    assert_eq!(
        node.prints("os poweroff"),
        "powering off once these have stopped: network\n"
    );
    let requests = node.requests();
    assert!(requests.contains(&r#"POST /v1/power {"action":"reboot"}"#.to_owned()));
    assert!(requests.contains(&r#"POST /v1/power {"action":"poweroff"}"#.to_owned()));
}

#[test]
fn a_machine_that_is_no_rubus_node_is_never_signalled() {
    let node = Node::without_runtime();
    let error = node.fails("os reboot");
    assert!(
        error.starts_with("ros: system-runtime does not run"),
        "{error}"
    );
    assert!(error.ends_with("; PID 1 is not the init of Rubus, so it is not asked instead"));
}

#[test]
fn without_the_runtime_every_command_says_so() {
    let node = Node::without_runtime();
    for line in [
        "ps",
        "service list",
        "logs ntp",
        "service stop ntp",
        "os status --timings",
    ] {
        let error = node.fails(line);
        assert!(error.starts_with("ros: system-runtime does not run: nothing listens on "));
    }
}

#[test]
fn an_answer_that_makes_no_sense_is_an_error_and_no_table() {
    for body in ["", "hello", "{}", r#"[{"name":"x"}]"#] {
        let node = Node::new(&[("GET /v1/services", 200, body)]);
        let error = node.fails("service list");
        assert!(error.contains("cannot be understood"), "{error}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    let node = Node::without_runtime();
    for line in [
        "",
        "sevrice",
        "service",
        "service start",
        "service exec ntp",
        "logs",
        "logs ntp --tail many",
        "os status --check --timings",
        "os reboot --json",
        "completions cobol",
    ] {
        let output = node.run(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert_eq!(stdout(&output), "", "{line}");
    }
}

#[test]
fn help_needs_no_runtime_and_shows_examples() {
    let node = Node::without_runtime();
    for line in [
        "--help",
        "service --help",
        "os status --help",
        "service exec -h",
        "help logs",
    ] {
        let help = node.prints(line);
        assert!(help.contains("Examples:\n  ros "), "{line}");
        assert!(!help.contains("--socket"), "{line}");
    }
}

#[test]
fn completions_are_scripts() {
    let node = Node::without_runtime();
    for shell in ["bash", "zsh", "fish"] {
        let script = node.prints(&format!("completions {shell}"));
        assert!(script.contains("poweroff"), "{shell}");
        assert!(!script.contains("socket"), "{shell}");
    }
}

/// Two engines; the last change failed.
const ENGINES: &str = r#"{"service":"docker","variants":[
  {"name":"docker-26.1.5","version":"26.1.5","source":"image","state":"current","trial":false,
   "problem":""},
  {"name":"docker-28","version":null,"source":"image","state":"enabled","trial":false,
   "problem":""}],
  "switch":null,
  "last":{"began":"a","ended":"b","from":"docker-26.1.5","to":"docker-28","done":false,
          "reason":"no such driver"},
  "notice":""}"#;

#[test]
fn engines_are_listed_and_a_switch_that_fails_says_why_and_what_runs() {
    let node = Node::new(&[
        ("GET /v1/services", 200, SERVICES),
        ("GET /v1/services/docker/variants", 200, ENGINES),
        ("POST /v1/services/docker/switch", 202, ENGINES),
        ("POST /v1/services/docker/enable", 200, ENGINES),
    ]);
    let text = node.prints("engine list");
    assert!(text.starts_with("STATE    NAME           VERSION  SOURCE\ncurrent  docker-26.1.5 "));
    assert!(text.contains("\nenabled  docker-28 "), "{text}");
    assert!(text.ends_with(
        "\n\nthe last change, from docker-26.1.5 to docker-28, failed: no such driver\n"
    ));
    assert_eq!(
        node.json("engine list --json")["variants"][0]["state"],
        "current"
    );
    assert_eq!(
        node.fails("engine switch docker-28"),
        "ros: docker-28 does not work: no such driver; docker-26.1.5 is to run"
    );
    assert_eq!(
        node.prints("engine enable docker-28"),
        "the next boot tries docker-28\n"
    );
    let asked = r#"POST /v1/services/docker/switch {"variant":"docker-28"}"#;
    assert!(node.requests().contains(&asked.to_owned()));
    for line in [
        "engine switch docker-29",
        "engine enable docker-29",
        "engine remove docker-29",
    ] {
        assert_eq!(
            node.fails(line),
            "ros: no engine is called docker-29 (did you mean docker-28?); \
             `ros engine list` shows all"
        );
    }
}
