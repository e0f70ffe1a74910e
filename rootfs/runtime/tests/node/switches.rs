//! Services that are switched to other variants of themselves.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use rubus_service::{
    status::State,
    variants::{Choice, Outcome, Source, Variants},
};

use crate::harness::{Node, wait_for};

/// Runs until it is asked to stop, and says in `/shared/runs` who runs.
fn runs(who: &str) -> String {
    format!(
        "trap 'echo {who} stops >> /shared/history; rm -f /shared/runs; exit 0' TERM; \
         echo {who} > /shared/runs; echo {who} starts >> /shared/history; \
         while true; do sleep 0.05; done"
    )
}

/// Says who is made ready to stop.
const DRAIN: &str = "[switch]\ndrain = [\"/bin/sh\", \"-c\", \"echo drain of $(cat /shared/runs) >> /shared/history\"]\n";
/// Healthy when the script made itself so.
const HEALTH: &str = "restart = \"always\"\n[health]\nexec = [\"/bin/cat\", \"/shared/runs\"]\ninterval = \"200ms\"\nretries = 2\n";

/// A node with an engine `one` of the image, a further one `two`, and a
/// service that waits for whichever runs.
fn node(around: &str) -> Node {
    let mut node = Node::new();
    let rest = format!("{HEALTH}{around}");
    node.add(
        "engine",
        &runs("one"),
        &format!("variant = \"one\"\n{rest}"),
    );
    node.add_variant("engine", "two", &runs("two"), &rest);
    node.add(
        "waits",
        "while true; do sleep 1; done",
        "after = [\"engine\"]\n",
    );
    node
}

fn cut_power(node: &mut Node) {
    node.cut_power();
    // The service did not get so far as to take it away.
    let _ = fs::remove_file(node.shared().join("runs"));
}

fn variants(node: &Node) -> Variants {
    let (status, body) = node.request("GET", "/v1/services/engine/variants", "");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn current(node: &Node) -> String {
    let all = variants(node).variants;
    let current = all.into_iter().find(|it| it.state == Choice::Current);
    current.map_or_else(String::new, |it| it.name)
}

fn ask(node: &Node, what: &str, variant: &str) -> (u16, String) {
    let body = format!("{{\"variant\":\"{variant}\"}}");
    node.request("POST", &format!("/v1/services/engine/{what}"), &body)
}

fn wait_over(node: &Node) -> Outcome {
    wait_for("the switch is over", || variants(node).switch.is_none());
    variants(node).last.unwrap()
}

fn switch(node: &Node, variant: &str) -> Outcome {
    let (status, body) = ask(node, "switch", variant);
    assert_eq!(status, 202, "{body}");
    wait_over(node)
}

/// The engine runs, and it is this one.
fn is_up(node: &Node, name: &str) {
    node.wait_state("engine", State::Ready);
    assert_eq!(current(node), name);
    let status = node.status("engine");
    assert_eq!(status.variant.as_deref(), Some(name));
    let runs = fs::read_to_string(node.shared().join("runs"));
    assert_eq!(runs.unwrap().trim(), name);
}

fn history(node: &Node) -> Vec<String> {
    let text = fs::read_to_string(node.shared().join("history")).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_new_one_replaces_the_old_one_for_good() {
    let mut node = node("");
    node.boot();
    is_up(&node, "one");
    let waits = node.wait_state("waits", State::Ready).pid;
    let all = variants(&node).variants;
    let all: Vec<_> = all
        .iter()
        .map(|it| (it.name.as_str(), it.source, it.state, it.problem.as_str()))
        .collect();
    assert_eq!(
        all,
        [
            ("one", Source::Image, Choice::Current, ""),
            ("two", Source::Image, Choice::Disabled, "")
        ]
    );

    let outcome = switch(&node, "two");
    assert!(outcome.done, "{outcome:?}");
    assert_eq!((outcome.from.as_str(), outcome.to.as_str()), ("one", "two"));
    is_up(&node, "two");
    assert_eq!(history(&node), ["one starts", "one stops", "two starts"]);
    assert_eq!(node.status("waits").pid, waits, "it goes on meanwhile");

    cut_power(&mut node);
    node.boot();
    is_up(&node, "two");
    let back = switch(&node, "one");
    assert!(back.done, "{back:?}");
    is_up(&node, "one");
}

#[test]
fn commands_around_it_run_in_the_old_and_in_the_new_one() {
    let mut node = node(&format!(
        "{DRAIN}gate = [\"/bin/sh\", \"-c\", \"echo gate of $(cat /shared/runs) >> /shared/history; echo all 3 run again, $0 in $HOME\"]\n"
    ));
    node.boot();
    is_up(&node, "one");
    let outcome = switch(&node, "two");
    assert!(outcome.done, "{outcome:?}");
    assert_eq!(outcome.reason, "all 3 run again, forward in /root");
    assert_eq!(
        history(&node),
        [
            "one starts",
            "drain of one",
            "one stops",
            "two starts",
            "gate of two"
        ]
    );
}

#[test]
fn when_the_gate_is_shut_the_old_one_comes_back() {
    let mut node = node(&format!(
        "{DRAIN}gate = [\"/bin/sh\", \"-c\", \"[ $0 = back ] || {{ echo web does not run >&2; exit 1; }}\"]\n"
    ));
    node.boot();
    is_up(&node, "one");
    let outcome = switch(&node, "two");
    assert!(!outcome.done);
    assert_eq!(outcome.reason, "web does not run");
    is_up(&node, "one");
    assert_eq!(
        history(&node),
        [
            "one starts",
            "drain of one",
            "one stops",
            "two starts",
            "drain of two",
            "two stops",
            "one starts"
        ]
    );
}

#[test]
fn one_that_cannot_make_ready_goes_on() {
    let mut node = node("[switch]\ndrain = [\"/bin/sh\", \"-c\", \"echo a build runs; exit 1\"]\n");
    node.boot();
    is_up(&node, "one");
    let pid = node.status("engine").pid;
    let outcome = switch(&node, "two");
    assert_eq!(
        outcome.reason,
        "one cannot make ready to stop: a build runs"
    );
    is_up(&node, "one");
    assert_eq!(node.status("engine").pid, pid);
}

#[test]
fn one_that_crashes_or_is_never_healthy_is_taken_back_with_the_reason() {
    let mut node = node("");
    node.add_variant(
        "engine",
        "crashes",
        "echo cannot read the data of a newer engine >&2; exit 1",
        HEALTH,
    );
    node.add_on_node("engine", "mute", "while true; do sleep 0.1; done", HEALTH);
    node.boot();
    is_up(&node, "one");
    for (name, why) in [
        (
            "crashes",
            "ended with status 1: cannot read the data of a newer engine",
        ),
        (
            "mute",
            "its health check failed twice: cat: can't open '/shared/runs': No such file or directory",
        ),
    ] {
        let outcome = switch(&node, name);
        assert!(!outcome.done);
        assert_eq!(outcome.reason, why);
        is_up(&node, "one");
    }
    cut_power(&mut node);
    node.boot();
    is_up(&node, "one");
}

#[test]
fn one_that_has_ended_already_is_replaced_as_well() {
    let mut node = node("");
    node.boot();
    is_up(&node, "one");
    let (status, _) = node.request("POST", "/v1/services/engine/stop", "");
    assert_eq!(status, 200);
    assert!(switch(&node, "two").done);
    is_up(&node, "two");
}

#[test]
fn a_service_without_a_health_check_has_to_stay_up() {
    let mut node = Node::new();
    node.add(
        "engine",
        &runs("one"),
        "variant = \"one\"\nrestart = \"always\"\n",
    );
    node.add_variant(
        "engine",
        "two",
        "sleep 0.3; exit 1",
        "restart = \"always\"\n",
    );
    node.boot();
    node.wait_state("engine", State::Ready);
    let outcome = switch(&node, "two");
    assert!(!outcome.done, "{outcome:?}");
    is_up(&node, "one");
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_touched() {
    let mut node = node("");
    for name in ["no-definition", "no-root", "other-name"] {
        node.add_on_node("engine", name, "true", "");
    }
    let added = node.state_dir().join("variants/engine");
    fs::remove_file(added.join("no-definition/service.json")).unwrap();
    fs::remove_dir_all(added.join("no-root/rootfs")).unwrap();
    let definition = added.join("other-name/service.json");
    let text = fs::read_to_string(&definition).unwrap();
    fs::write(&definition, text.replace("other-name", "liar")).unwrap();
    node.boot();
    is_up(&node, "one");
    let pid = node.status("engine").pid;
    for (name, status, word) in [
        ("three", 404, "has no variant three"),
        ("no-definition", 409, "service.json"),
        ("no-root", 409, "rootfs"),
        ("other-name", 409, "calls itself liar"),
        ("../one", 404, "no variant"),
    ] {
        for what in ["switch", "enable"] {
            let (found, body) = ask(&node, what, name);
            assert_eq!(found, status, "{name}: {body}");
            assert!(body.contains(word), "{body}");
        }
    }
    assert_eq!(node.status("engine").pid, pid);
    let all = variants(&node).variants;
    assert!(
        all.iter()
            .any(|it| it.name == "no-root" && it.problem.contains("rootfs"))
    );
}

#[test]
fn a_switch_is_not_disturbed() {
    let mut node = node("[switch]\ngate = [\"/bin/sh\", \"-c\", \"sleep 1\"]\n");
    node.boot();
    is_up(&node, "one");
    let (status, _) = ask(&node, "switch", "two");
    assert_eq!(status, 202);
    for what in ["start", "stop", "restart", "reload"] {
        let (status, body) = node.request("POST", &format!("/v1/services/engine/{what}"), "");
        assert_eq!(status, 409, "{body}");
        assert!(body.contains("is being switched to two"), "{body}");
    }
    assert_eq!(ask(&node, "switch", "one").0, 409);
    assert_eq!(ask(&node, "enable", "one").0, 409);
    assert!(wait_over(&node).done);
    is_up(&node, "two");
}

#[test]
fn the_next_boot_tries_the_one_that_is_enabled() {
    let mut node = node("");
    node.boot();
    is_up(&node, "one");
    assert_eq!(ask(&node, "enable", "two").0, 200);
    is_up(&node, "one");
    let all = variants(&node).variants;
    assert_eq!(all[1].state, Choice::Enabled);
    for _ in 0..2 {
        cut_power(&mut node);
        node.boot();
        is_up(&node, "two");
    }
    assert!(wait_over(&node).done);
}

#[test]
fn the_next_boot_goes_back_when_that_one_fails() {
    let mut node = node("");
    node.add_on_node("engine", "bad", "echo no such driver >&2; exit 1", HEALTH);
    node.boot();
    is_up(&node, "one");
    assert_eq!(ask(&node, "enable", "bad").0, 200);
    cut_power(&mut node);
    node.boot();
    wait_for("it is tried", || variants(&node).switch.is_some());
    let outcome = wait_over(&node);
    assert!(outcome.reason.contains("no such driver"), "{outcome:?}");
    is_up(&node, "one");
    node.wait_state("waits", State::Ready);
    cut_power(&mut node);
    node.boot();
    is_up(&node, "one");
    assert_eq!(wait_over(&node), outcome, "it is not tried again");
}

#[test]
fn a_choice_that_vanished_is_replaced_by_the_images_own_which_is_told() {
    let mut node = node("");
    node.boot();
    is_up(&node, "one");
    assert!(switch(&node, "two").done);
    cut_power(&mut node);
    let folder = node.image_variant("engine", "two");
    let aside = folder.with_file_name(".aside");
    fs::rename(&folder, &aside).unwrap();
    node.boot();
    is_up(&node, "one");
    let notice = node.status("engine").notice;
    assert!(notice.contains("one runs instead of two"), "{notice}");
    assert_eq!(variants(&node).notice, notice);
    // It is what was chosen, so it runs when it is there again.
    cut_power(&mut node);
    fs::rename(aside, folder).unwrap();
    node.boot();
    is_up(&node, "two");
    assert_eq!(node.status("engine").notice, "");
}

#[test]
fn a_damaged_record_is_told_and_stops_nothing() {
    let mut node = node("");
    node.boot();
    is_up(&node, "one");
    assert!(switch(&node, "two").done);
    cut_power(&mut node);
    let record = node.state_dir().join("variants.json");
    for damage in ["", "{\"engine\":", "[]", "\0\0\0\0"] {
        fs::write(&record, damage).unwrap();
        node.boot();
        is_up(&node, "one");
        node.wait_state("waits", State::Ready);
        let notice = node.status("engine").notice;
        assert!(notice.contains("variants.json is damaged"), "{notice}");
        assert_eq!(node.status("waits").notice, "");
        cut_power(&mut node);
    }
    node.boot();
    is_up(&node, "one");
    assert!(switch(&node, "two").done);
    assert_eq!(node.status("engine").notice, "");
}

#[test]
fn one_that_was_added_is_removed_unless_it_is_in_use() {
    let mut node = node("");
    node.add_on_node("engine", "mine", &runs("mine"), HEALTH);
    node.boot();
    is_up(&node, "one");
    let remove = |node: &Node, name: &str| {
        node.request(
            "DELETE",
            &format!("/v1/services/engine/variants/{name}"),
            "",
        )
    };
    assert!(switch(&node, "mine").done);
    is_up(&node, "mine");
    assert_eq!(remove(&node, "mine").0, 409);
    assert!(switch(&node, "one").done);
    assert_eq!(ask(&node, "enable", "mine").0, 200);
    assert_eq!(remove(&node, "mine").0, 409);
    assert_eq!(ask(&node, "enable", "one").0, 200);
    assert_eq!(remove(&node, "two").0, 409);
    assert_eq!(remove(&node, "none").0, 404);
    assert_eq!(remove(&node, "mine").0, 200);
    assert_eq!(variants(&node).variants.len(), 2);
}

/// A node on which every step of a switch takes long enough to be interrupted
/// in it; `gate` is what the gate says in the end.
fn slow(gate: &str) -> Node {
    let slowly = |who: &str| {
        let script = runs(who).replace("trap '", "trap 'sleep 0.2; ");
        format!("sleep 0.3; {script}")
    };
    let rest = format!(
        "stop_timeout = \"5s\"\n{HEALTH}[switch]\ndrain = [\"/bin/sh\", \"-c\", \"sleep 0.3\"]\n\
         gate = [\"/bin/sh\", \"-c\", \"sleep 0.3; {gate}\"]\n"
    );
    let mut node = Node::new();
    node.add(
        "engine",
        &slowly("one"),
        &format!("variant = \"one\"\n{rest}"),
    );
    node.add_variant("engine", "two", &slowly("two"), &rest);
    node
}

#[test]
fn a_runtime_that_is_killed_at_any_moment_goes_on_with_the_switch() {
    let mut node = slow("true");
    node.boot();
    is_up(&node, "one");
    let mut to = "two";
    for round in 0..12_u64 {
        let (status, body) = ask(&node, "switch", to);
        assert_eq!(status, 202, "{body}");
        sleep(Duration::from_millis(round * 150));
        node.kill_runtime();
        node.boot();
        let outcome = wait_over(&node);
        assert!(outcome.done, "after {} ms: {outcome:?}", round * 150);
        is_up(&node, to);
        to = if to == "two" { "one" } else { "two" };
    }
}

#[test]
fn a_runtime_that_is_killed_at_any_moment_goes_on_with_the_way_back() {
    let mut node = slow("[ $0 = back ] || { echo shut; exit 1; }");
    node.boot();
    is_up(&node, "one");
    for round in 0..8_u64 {
        let (status, body) = ask(&node, "switch", "two");
        assert_eq!(status, 202, "{body}");
        sleep(Duration::from_millis(700 + round * 200));
        node.kill_runtime();
        node.boot();
        let outcome = wait_over(&node);
        assert_eq!(outcome.reason, "shut", "round {round}");
        is_up(&node, "one");
    }
}

#[test]
fn a_power_cut_at_any_moment_leaves_one_that_works() {
    let mut node = slow("true");
    node.boot();
    is_up(&node, "one");
    let mut interrupted = 0;
    for round in 0..10_u64 {
        let before = current(&node);
        let to = if before == "two" { "one" } else { "two" };
        let (status, body) = ask(&node, "switch", to);
        assert_eq!(status, 202, "{body}");
        sleep(Duration::from_millis(round * 180));
        cut_power(&mut node);
        let start = Instant::now();
        node.boot();
        node.wait_state("engine", State::Ready);
        assert!(start.elapsed() < Duration::from_secs(20));
        let after = variants(&node);
        let last = after.last.clone().unwrap();
        assert_eq!(after.switch, None);
        assert_eq!(last.to, to);
        if last.done {
            is_up(&node, to);
        } else {
            interrupted += 1;
            is_up(&node, &before);
            assert!(last.reason.contains("the node went down"), "{last:?}");
        }
    }
    assert!(interrupted > 0);
}
