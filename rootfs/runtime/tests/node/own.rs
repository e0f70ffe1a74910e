//! Services that are added on the node.

use std::{fs, thread::sleep, time::Duration};

use rubus_service::{
    own,
    status::{State, Status},
    variants::{Choice, Source, Variants},
};
use serde_json::{Value, json};

use crate::harness::{Node, wait_for};

/// Runs until it is asked to stop, and says so.
fn runs(word: &str) -> String {
    format!("trap 'exit 0' TERM; echo {word}; while true; do sleep 0.05; done")
}

/// A node with a service of the image.
fn node() -> Node {
    let mut node = Node::new();
    node.add("base", &runs("base"), "");
    node
}

fn ask(node: &Node, method: &str, name: &str) -> (u16, String) {
    node.request(method, &format!("/v1/services/{name}"), "")
}

/// Adds what was begun.
fn take_in(node: &Node, name: &str) -> Status {
    let (status, body) = ask(node, "PUT", name);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Why something is refused.
fn refused(node: &Node, method: &str, name: &str, expected: u16) -> String {
    let (status, body) = ask(node, method, name);
    assert_eq!(status, expected, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    body["error"].as_str().unwrap().to_owned()
}

fn act(node: &Node, name: &str, verb: &str) -> u16 {
    let path = format!("/v1/services/{name}/{verb}");
    node.request("POST", &path, "").0
}

fn names(node: &Node) -> Vec<String> {
    let (_, body) = node.request("GET", "/v1/services", "");
    let all: Vec<Status> = serde_json::from_str(&body).unwrap();
    all.into_iter().map(|it| it.name).collect()
}

#[test]
fn one_that_is_added_is_a_service_like_the_others() {
    let mut node = node();
    node.boot();
    node.wait_state("base", State::Ready);
    node.begin_own("mine", &runs("hello"), "after = [\"base\"]\n");
    assert_eq!(ask(&node, "GET", "mine").0, 404, "only begun");

    let added = take_in(&node, "mine");
    assert!(added.added && added.enabled);
    assert!(!node.status("base").added);
    node.wait_state("mine", State::Ready);
    wait_for("its log", || node.log("mine") == ["hello"]);
    assert_eq!(names(&node), ["base", "mine"]);
    node.begin_own("also", &runs("also"), "enabled = false\n");
    take_in(&node, "also");
    assert_eq!(names(&node), ["also", "base", "mine"]);
    let (_, body) = node.request("GET", "/v1/services/mine/definition", "");
    let definition: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(definition["after"], json!(["base"]));
    let (_, body) = node.request("GET", "/v1/services/mine/variants", "");
    let variants: Variants = serde_json::from_str(&body).unwrap();
    let only = &variants.variants[..];
    assert_eq!(only.len(), 1, "{body}");
    assert_eq!(
        (only[0].source, only[0].state),
        (Source::Added, Choice::Current)
    );
    assert_eq!(only[0].problem, "");

    assert_eq!(act(&node, "mine", "stop"), 200);
    assert_eq!(node.status("mine").state, State::Stopped);
    assert_eq!(act(&node, "mine", "start"), 200);
    let before = node.status("mine").pid;
    assert_eq!(act(&node, "mine", "restart"), 200);
    assert_ne!(node.status("mine").pid, before);
}

#[test]
fn it_is_there_after_the_end_of_the_runtime_and_of_the_machine() {
    let mut node = node();
    node.boot();
    node.begin_own("mine", &runs("hello"), "after = [\"base\"]\n");
    take_in(&node, "mine");
    let pid = node.wait_state("mine", State::Ready).pid;

    node.kill_runtime();
    node.boot();
    let status = node.wait_state("mine", State::Ready);
    assert_eq!(status.pid, pid, "it goes on");
    assert!(status.added);

    node.cut_power();
    node.boot();
    let status = node.wait_state("mine", State::Ready);
    assert!(
        status.started_us >= node.status("base").ready_us,
        "in order"
    );
    // One that is turned off stays so, though its definition says otherwise.
    node.cut_power();
    fs::create_dir_all(node.run_dir()).unwrap();
    node.write_config(&json!({"services": {"mine": false}}));
    node.boot();
    node.wait_state("base", State::Ready);
    let status = node.status("mine");
    assert_eq!((status.enabled, status.state), (false, State::Stopped));
}

#[test]
fn one_that_is_not_enabled_waits_until_it_is() {
    let mut node = node();
    node.boot();
    node.begin_own("mine", &runs("hello"), "enabled = false\n");
    assert!(!take_in(&node, "mine").enabled);
    sleep(Duration::from_millis(200));
    assert_eq!(node.status("mine").state, State::Stopped);
    node.write_config(&json!({"services": {"mine": true}}));
    node.request("POST", "/v1/settings/reload", "");
    assert!(node.status("mine").enabled);
}

#[test]
fn adding_again_replaces_and_keeps_nothing_of_the_former_root() {
    let mut node = node();
    node.boot();
    let script = |word: &str| format!("[ -e /kept ] && echo old root; touch /kept; {}", runs(word));
    let rest = "root = \"kept\"\n";
    node.begin_own("mine", &script("one"), rest);
    take_in(&node, "mine");
    node.wait_state("mine", State::Ready);
    assert_eq!(act(&node, "mine", "restart"), 200);
    wait_for("what it wrote stays", || {
        node.log("mine") == ["one", "old root", "one"]
    });

    node.begin_own("mine", &script("two"), rest);
    let why = refused(&node, "PUT", "mine", 409);
    assert!(why.contains("ros service stop mine"), "{why}");
    assert_eq!(node.status("mine").state, State::Ready, "it goes on");
    assert_eq!(act(&node, "mine", "stop"), 200);
    take_in(&node, "mine");
    node.wait_state("mine", State::Ready);
    wait_for("the new one", || node.log("mine").len() == 4);
    assert_eq!(node.log("mine")[3], "two");
    // The former one is the caller's to delete, with what it kept.
    let former = node.own_services().join(own::begun("mine"));
    assert!(former.join("kept/upper/kept").exists());
}

#[test]
fn one_that_is_removed_is_gone_and_can_be_added_anew() {
    let mut node = node();
    node.boot();
    node.begin_own("mine", &runs("one"), "");
    node.begin_own("other", &runs("other"), "");
    take_in(&node, "mine");
    take_in(&node, "other");
    let other = node.wait_state("other", State::Ready);
    node.wait_state("mine", State::Ready);
    let why = refused(&node, "DELETE", "mine", 409);
    assert!(why.contains("ros service stop mine"), "{why}");
    assert_eq!(act(&node, "mine", "stop"), 200);

    let (status, body) = ask(&node, "DELETE", "mine");
    assert_eq!(status, 200, "{body}");
    let aside: Value = serde_json::from_str(&body).unwrap();
    let aside = aside["aside"].as_str().unwrap();
    assert!(fs::exists(format!("{aside}/rootfs/bin/busybox")).unwrap());
    fs::remove_dir_all(aside).unwrap();
    assert_eq!(names(&node), ["base", "other"]);
    refused(&node, "GET", "mine", 404);
    refused(&node, "DELETE", "mine", 404);
    assert_eq!(act(&node, "mine", "start"), 404);
    let logs = fs::read_dir(node.run_dir().join("log")).unwrap();
    let of_it = |name: String| name.starts_with("mine.");
    assert!(
        !logs
            .flatten()
            .any(|it| of_it(it.file_name().into_string().unwrap()))
    );

    // Others keep their numbers, and a new one of the name is another.
    node.kill_runtime();
    node.boot();
    assert_eq!(names(&node), ["base", "other"]);
    node.begin_own("mine", &runs("two"), "");
    take_in(&node, "mine");
    node.wait_state("mine", State::Ready);
    wait_for("its own log", || node.log("mine") == ["two"]);
    assert_eq!(act(&node, "mine", "stop"), 200);
    ask(&node, "DELETE", "mine");
    let _ = fs::remove_dir_all(node.own_services().join(own::removed("mine")));
    node.begin_own("mine", &runs("three"), "");
    take_in(&node, "mine");
    wait_for("its own log", || node.log("mine") == ["three"]);
    assert_eq!(node.wait_state("other", State::Ready).pid, other.pid);

    node.cut_power();
    node.boot();
    node.wait_state("mine", State::Ready);
    node.wait_state("other", State::Ready);
}

#[test]
fn who_follows_the_log_of_a_removed_one_hears_its_end() {
    let mut node = node();
    node.boot();
    node.begin_own("mine", &runs("one"), "");
    take_in(&node, "mine");
    node.wait_state("mine", State::Ready);
    wait_for("its log", || node.log("mine") == ["one"]);
    std::thread::scope(|scope| {
        let follower =
            scope.spawn(|| node.request("GET", "/v1/services/mine/logs?follow=true", ""));
        sleep(Duration::from_millis(200));
        assert_eq!(act(&node, "mine", "stop"), 200);
        assert_eq!(ask(&node, "DELETE", "mine").0, 200);
        let (status, body) = follower.join().unwrap();
        assert_eq!(status, 200);
        assert!(body.contains("\"one\""), "{body}");
    });
}

#[test]
fn names_of_the_image_and_paths_are_refused() {
    let mut node = node();
    node.boot();
    node.begin_own("base", &runs("mine"), "");
    let why = refused(&node, "PUT", "base", 409);
    assert!(why.contains("service of the image"), "{why}");
    let why = refused(&node, "DELETE", "base", 409);
    assert!(why.contains("ros service disable base"), "{why}");
    for name in ["..", ".base.new", "A", "a.b", "%2e%2e%2fx"] {
        refused(&node, "PUT", name, 400);
    }
    let why = refused(&node, "PUT", "nothing", 409);
    assert!(why.contains("service.json"), "{why}");
    assert_eq!(names(&node), ["base"]);
}

#[test]
fn a_broken_one_never_stops_the_others() {
    let mut node = node();
    node.boot();
    for name in ["whole", "cut", "rootless"] {
        node.begin_own(name, &runs(name), "");
        take_in(&node, name);
        node.wait_state(name, State::Ready);
    }
    node.cut_power();
    let folder = node.own_services();
    fs::write(folder.join("cut/service.json"), "{\"kind\":").unwrap();
    fs::remove_dir_all(folder.join("rootless/rootfs")).unwrap();
    fs::write(folder.join("junk"), "").unwrap();
    node.boot();
    node.wait_state("base", State::Ready);
    node.wait_state("whole", State::Ready);
    for (name, what) in [("cut", "service.json"), ("junk", "service.json")] {
        let reason = node.wait_state(name, State::Failed).reason;
        assert!(reason.contains(what), "{reason}");
        let way_out = format!("ros service remove {name}");
        assert!(reason.contains(&way_out), "{reason}");
        assert_eq!(act(&node, name, "start"), 409);
    }
    // Its own definition says that it is tried again.
    let reason = node.wait_state("rootless", State::Backoff).reason;
    assert!(reason.contains("rootfs"), "{reason}");

    // Adding one again mends it; removing works as well.
    assert_eq!(act(&node, "cut", "stop"), 200);
    node.begin_own("cut", &runs("mended"), "");
    take_in(&node, "cut");
    node.wait_state("cut", State::Ready);
    assert_eq!(act(&node, "rootless", "stop"), 200);
    assert_eq!(ask(&node, "DELETE", "rootless").0, 200);
    assert_eq!(names(&node), ["base", "cut", "junk", "whole"]);
}

#[test]
fn an_image_that_brings_a_service_of_the_same_name_wins_and_says_so() {
    let mut node = node();
    node.boot();
    node.begin_own("late", &runs("mine"), "");
    take_in(&node, "late");
    node.wait_state("late", State::Ready);
    node.cut_power();
    node.add("late", &runs("image"), "");
    node.boot();
    let status = node.wait_state("late", State::Ready);
    assert!(!status.added);
    assert!(
        status.notice.contains("ros service remove late"),
        "{}",
        status.notice
    );
    wait_for("its log", || node.log("late") == ["image"]);
    // Only the one that was added goes.
    assert_eq!(ask(&node, "DELETE", "late").0, 200);
    let status = node.status("late");
    assert_eq!((status.state, status.notice.as_str()), (State::Ready, ""));
    refused(&node, "DELETE", "late", 409);
}
