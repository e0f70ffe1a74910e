//! Services that misbehave, each in its own way.

use std::{fs, time::Instant};

use rubus_service::status::{Exit, State};

use crate::harness::{Node, wait_for};

#[test]
fn one_that_exits_at_once_backs_off_and_is_told_about() {
    let mut node = Node::new();
    node.add("quits", "echo going >&2; exit 3", "");
    node.boot();
    let status = node.wait_state("quits", State::Backoff);
    assert_eq!(status.exit, Some(Exit::Code(3)));
    assert!(
        status.reason.contains("ended with status 3"),
        "{}",
        status.reason
    );
    wait_for("it is started again", || node.status("quits").restarts >= 1);
    let log = node.log("quits");
    assert_eq!(
        log[..2],
        [
            "going",
            "system-runtime: ended with status 3; starts again after 1 s"
        ]
    );
}

#[test]
fn one_that_cannot_be_started_says_why() {
    let mut node = Node::new();
    node.add("absent", "true", "restart = \"never\"\n");
    let config = node
        .run_dir()
        .parent()
        .unwrap()
        .join("services/absent/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"/bin/sh\"", "\"/bin/absent\"")).unwrap();
    node.boot();
    let status = node.wait_state("absent", State::Failed);
    assert!(
        status.reason.contains("could not be started"),
        "{}",
        status.reason
    );
    assert!(status.reason.contains("/bin/absent"), "{}", status.reason);
}

#[test]
fn one_that_ignores_sigterm_is_killed_after_its_time() {
    let mut node = Node::new();
    node.add(
        "deaf",
        "trap '' TERM; echo up; while true; do sleep 1; done",
        "stop_timeout = \"500ms\"\n",
    );
    node.boot();
    node.wait_state("deaf", State::Ready);
    wait_for("it listens to nobody", || node.log("deaf") == ["up"]);
    let start = Instant::now();
    let (status, body) = node.request("POST", "/v1/services/deaf/stop", "");
    assert_eq!(status, 200, "{body}");
    assert!(start.elapsed().as_millis() >= 500);
    assert_eq!(node.status("deaf").exit, Some(Exit::Signal(9)));
    assert_eq!(node.status("deaf").state, State::Stopped);
}

#[test]
fn one_that_forks_daemons_leaves_none_behind() {
    let mut node = Node::new();
    // In the namespace of the node, where the kernel would let them live.
    node.add(
        "forks",
        "trap 'exit 0' TERM; for i in 1 2 3; do (sleep 1234 & ) ; done; echo up; while true; do sleep 0.1; done",
        "pid = \"host\"\n",
    );
    node.boot();
    wait_for("they run", || sleepers() >= 3);
    let (status, _) = node.request("POST", "/v1/services/forks/stop", "");
    assert_eq!(status, 200);
    wait_for("they are gone", || sleepers() == 0);
}

fn sleepers() -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|it| fs::read(it.path().join("cmdline")).ok())
        .filter(|line| line == b"sleep\x001234\x00")
        .count()
}

#[test]
fn one_that_floods_its_log_starves_nobody_and_fills_nothing() {
    let mut node = Node::new();
    node.add(
        "floods",
        "while true; do echo 0123456789012345678901234567890123456789; done",
        "",
    );
    node.add("speaks", "while true; do echo hello; sleep 0.2; done", "");
    node.boot();
    node.wait_state("speaks", State::Ready);
    wait_for("the other is heard", || node.log("speaks").len() >= 5);
    let start = Instant::now();
    node.status("speaks");
    assert!(start.elapsed().as_millis() < 1000, "the API answers");
    let (_, body) = node.request("GET", "/v1/services/floods/logs?tail=3", "");
    assert_eq!(
        body.lines().count(),
        3,
        "what is asked for, not what is said since"
    );
    let size =
        |name: &str| fs::metadata(node.run_dir().join("log").join(name)).map_or(0, |it| it.len());
    wait_for("the ring has turned", || size("floods.log.1") > 0);
    assert!(size("floods.log") + size("floods.log.1") <= 256 * 1024);
}

#[test]
fn a_health_check_that_never_answers_makes_it_unhealthy_and_leaves_nothing() {
    let mut node = Node::new();
    node.add(
        "mute",
        "while true; do sleep 1; done",
        "[health]\nexec = [\"/bin/sh\", \"-c\", \"sleep 4321 & sleep 4321\"]\ninterval = \"100ms\"\ntimeout = \"200ms\"\nretries = 2\n",
    );
    node.boot();
    wait_for("it is restarted", || node.status("mute").restarts >= 1);
    assert_ne!(node.status("mute").state, State::Ready);
    let (status, _) = node.request("POST", "/v1/services/mute/stop", "");
    assert_eq!(status, 200);
    let left = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|it| fs::read(it.path().join("cmdline")).ok());
    assert_eq!(left.filter(|line| line == b"sleep\x004321\x00").count(), 0);
}

#[test]
fn a_health_check_over_http_decides_when_it_is_ready() {
    let mut node = Node::new();
    let port = free_port();
    node.add(
        "serves",
        &format!("sleep 0.5; touch /tmp/index.html; exec httpd -f -p 127.0.0.1:{port} -h /tmp"),
        &format!("network = \"host\"\n[health]\nhttp = \"http://127.0.0.1:{port}/\"\n"),
    );
    node.add(
        "follows",
        "while true; do sleep 1; done",
        "after = [\"serves\"]\n",
    );
    node.boot();
    let follows = node.status("follows");
    assert_eq!(follows.state, State::Waiting);
    assert_eq!(follows.reason, "waits for serves");
    let ready = node.wait_state("serves", State::Ready);
    let took = ready.ready_us.unwrap() - ready.started_us.unwrap();
    assert!(took < 5_000_000, "is not slowed by the interval: {took}");
    let follows = node.wait_state("follows", State::Ready);
    assert!(follows.started_us.unwrap() >= ready.ready_us.unwrap());
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn a_oneshot_is_done_and_lets_others_start() {
    let mut node = Node::new();
    node.add("once", "touch /shared/done", "kind = \"oneshot\"\n");
    node.add(
        "then",
        "cat /shared/done && echo seen; while true; do sleep 1; done",
        "after = [\"once\"]\n",
    );
    node.add(
        "never",
        "exit 1",
        "kind = \"oneshot\"\nrestart = \"never\"\n",
    );
    node.add("blocked", "true", "after = [\"never\"]\n");
    node.boot();
    node.wait_state("then", State::Ready);
    assert_eq!(node.status("once").state, State::Done);
    wait_for("it saw it", || node.log("then") == ["seen"]);
    node.wait_state("never", State::Failed);
    let (status, body) = node.request("POST", "/v1/services/blocked/start", "");
    assert_eq!(status, 409);
    assert!(
        body.contains("waits for never, which is in state failed"),
        "{body}"
    );
}

#[test]
fn post_start_has_to_succeed_before_it_is_ready() {
    let mut node = Node::new();
    node.add(
        "loads",
        "while true; do sleep 1; done",
        "post_start = [\"/bin/sh\", \"-c\", \"sleep 0.3; echo loaded\"]\n",
    );
    node.add(
        "fails",
        "while true; do sleep 1; done",
        "restart = \"never\"\nstop_timeout = \"100ms\"\npost_start = [\"/bin/false\"]\n",
    );
    node.boot();
    let status = node.wait_state("loads", State::Ready);
    assert!(status.ready_us.unwrap() - status.started_us.unwrap() >= 300_000);
    assert_eq!(node.log("loads"), ["loaded"]);
    let status = node.wait_state("fails", State::Failed);
    assert_eq!(status.reason, "its post_start command ended with status 1");
}
