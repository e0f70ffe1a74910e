//! Services whose settings change.

use rubus_service::status::State;

use crate::harness::{Node, wait_for};

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
    node.add("plain", "while true; do sleep 1; done", "");
    node.add("off", "while true; do sleep 1; done", "enabled = false\n");
    node.boot();
    let before = node.wait_state("plain", State::Ready);
    let (status, body) = node.request("POST", "/v1/services/plain/reload", "");
    assert_eq!(status, 200, "{body}");
    assert_ne!(node.wait_state("plain", State::Ready).pid, before.pid);
    let (status, body) = node.request("POST", "/v1/services/off/reload", "");
    assert_eq!(status, 200, "{body}");
    assert_eq!(node.status("off").state, State::Stopped);
}
