//! The runtime is killed, or told to end, while services run.

use std::{collections::BTreeSet, io::Write, os::unix::net::UnixStream, time::Duration};

use rubus_service::status::{Exit, State};

use crate::harness::{Node, wait_for};

#[test]
fn a_killed_runtime_loses_nothing() {
    let mut node = Node::new();
    // As many lines as the ring is sure to hold, over as long as the kills take.
    let count = 1200;
    node.add(
        "counts",
        &format!("n=0; while [ $n -lt {count} ]; do n=$((n+1)); echo $n; [ $((n % 3)) = 0 ] && sleep 0.005; done; while true; do sleep 1; done"),
        "",
    );
    node.add("floods", "while true; do echo 0123456789; done", "");
    node.add("quits", "sleep 0.2; exit 1", "");
    node.add(
        "checked",
        "while true; do sleep 1; done",
        "[health]\nexec = [\"/bin/true\"]\ninterval = \"100ms\"\n",
    );
    node.boot();
    let before = node.wait_state("counts", State::Ready);
    node.wait_state("checked", State::Ready);
    let checked = node.status("checked").pid;
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(150));
        node.kill_runtime();
        std::thread::sleep(Duration::from_millis(50));
        node.boot();
    }
    let after = node.status("counts");
    assert_eq!((after.pid, after.restarts), (before.pid, 0), "{after:?}");
    assert_eq!(after.started_us, before.started_us);
    wait_for("all is logged", || {
        node.log("counts")
            .last()
            .is_some_and(|it| *it == count.to_string())
    });
    // A line may be there twice where the runtime was killed, but none is lost.
    let log = node.log("counts");
    let numbers: BTreeSet<u32> = log.iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers.len(), count, "{} lines", log.len());
    assert_eq!(node.wait_state("checked", State::Ready).pid, checked);
    wait_for("failures are still counted", || {
        node.status("quits").restarts >= 2
    });
    // It is supervised as before: its end is seen.
    let (status, body) = node.request("POST", "/v1/services/counts/restart", "");
    assert_eq!(status, 200, "{body}");
    assert_ne!(node.status("counts").pid, before.pid);
}

#[test]
fn an_end_that_nobody_saw_is_looked_up_with_init() {
    let mut node = Node::new();
    node.add(
        "a",
        "while [ ! -e /shared/go ]; do sleep 0.05; done; exit 7",
        "restart = \"never\"\n",
    );
    node.add(
        "b",
        "while [ ! -e /shared/go ]; do sleep 0.05; done",
        "restart = \"never\"\n",
    );
    node.boot();
    let a = node.wait_state("a", State::Ready).pid.unwrap();
    let b = node.wait_state("b", State::Ready).pid.unwrap();
    node.kill_runtime();
    std::fs::write(node.shared().join("go"), "").unwrap();
    wait_for("they end", || {
        [a, b].iter().all(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .map_or(true, |it| it.contains(") Z "))
        })
    });
    let line = format!("{{\"pid\":{a},\"status\":{}}}\n", 7 << 8);
    std::fs::write(node.run_dir().join("reaped.jsonl"), line).unwrap();
    node.boot();
    assert_eq!(
        node.wait_state("a", State::Failed).exit,
        Some(Exit::Code(7))
    );
    assert_eq!(
        node.wait_state("b", State::Failed).exit,
        Some(Exit::Unknown)
    );
}

#[test]
fn killed_while_it_starts_services_it_starts_each_once() {
    let mut node = Node::new();
    let names: Vec<String> = (0..6).map(|it| format!("s{it}")).collect();
    for name in &names {
        let script = format!("echo x >> /shared/{name}; while true; do sleep 1; done");
        node.add(name, &script, "");
    }
    for _ in 0..4 {
        node.boot();
        std::thread::sleep(Duration::from_millis(15));
        node.kill_runtime();
    }
    node.boot();
    for name in &names {
        node.wait_state(name, State::Ready);
        let runs = std::fs::read_to_string(node.shared().join(name)).unwrap();
        let restarts = node.status(name).restarts;
        assert!(
            runs.lines().count() as u32 <= restarts + 1,
            "{name}: {runs} {restarts}"
        );
    }
}

#[test]
fn sigterm_leaves_services_running_for_the_next_runtime() {
    let mut node = Node::new();
    node.add("stays", "while true; do sleep 1; done", "");
    node.boot();
    let before = node.wait_state("stays", State::Ready);
    let pid = rustix::process::Pid::from_raw(node.runtime_pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(node.wait_runtime(), Some(0));
    node.boot();
    assert_eq!(node.status("stays").pid, before.pid);
    assert_eq!(node.status("stays").state, State::Ready);
}

#[test]
fn power_off_stops_in_reverse_order_and_tells_init() {
    let mut node = Node::new();
    let script = |name: &str| {
        format!(
            "trap 'sleep 0.2; echo {name} >> /shared/order; exit 0' TERM; echo up; while true; do sleep 0.05; done"
        )
    };
    node.add("base", &script("base"), "");
    node.add("middle", &script("middle"), "after = [\"base\"]\n");
    node.add("top", &script("top"), "after = [\"middle\"]\n");
    node.add(
        "deaf",
        "trap '' TERM; echo up; while true; do sleep 1; done",
        "stop_timeout = \"300ms\"\n",
    );
    node.add("quits", "exit 1", "");
    node.boot();
    for name in ["base", "middle", "top", "deaf"] {
        wait_for("it is up", || {
            node.log(name).first().is_some_and(|it| it == "up")
        });
    }
    let (status, _) = node.request("POST", "/v1/power", "{\"action\":\"poweroff\"}");
    assert_eq!(status, 202);
    let (status, _) = node.request("POST", "/v1/services/base/start", "");
    assert_eq!(status, 409);
    assert_eq!(node.wait_runtime(), Some(101));
    let order = std::fs::read_to_string(node.shared().join("order")).unwrap();
    assert_eq!(order, "top\nmiddle\nbase\n");
}

#[test]
fn hostile_clients_do_not_disturb_others() {
    let mut node = Node::new();
    node.add("a", "while true; do echo 0123456789; done", "");
    node.boot();
    node.wait_state("a", State::Ready);
    let socket = node.run_dir().join("runtime.sock");
    let mut idle = Vec::new();
    for number in 0..40 {
        let mut stream = UnixStream::connect(&socket).unwrap();
        match number % 4 {
            0 => stream
                .write_all(b"GET /v1/services/a/logs?follow=true HTTP/1.1\r\n\r\n")
                .unwrap(),
            1 => stream.write_all(b"GET /v1/ser").unwrap(),
            2 => {
                let _ = stream.write_all(&[0xff; 100_000]);
            }
            _ => {}
        }
        idle.push(stream);
    }
    assert_eq!(node.status("a").state, State::Ready);
    assert_eq!(node.raw_request(b"\x16\x03\x01\r\n\r\n").0, 400);
    assert_eq!(node.request("GET", "/v1/services/../x", "").0, 404);
    assert_eq!(node.request("GET", "/v1/services/nobody", "").0, 404);
    assert_eq!(
        node.request("POST", "/v1/power", "{\"action\":\"explode\"}")
            .0,
        400
    );
    assert_eq!(node.request("POST", "/v1/power", &"x".repeat(5000)).0, 413);
    drop(idle);
    assert_eq!(node.status("a").state, State::Ready);
}

#[test]
fn logs_are_followed_and_tailed() {
    use std::io::{BufRead, BufReader};
    let mut node = Node::new();
    node.add(
        "talks",
        "n=0; while true; do n=$((n+1)); echo line $n; sleep 0.05; done",
        "",
    );
    node.boot();
    wait_for("it has talked", || node.log("talks").len() > 5);
    let (_, body) = node.request("GET", "/v1/services/talks/logs?tail=2", "");
    assert_eq!(body.lines().count(), 2);
    let mut stream = UnixStream::connect(node.run_dir().join("runtime.sock")).unwrap();
    stream
        .write_all(b"GET /v1/services/talks/logs?tail=1&follow=true HTTP/1.1\r\n\r\n")
        .unwrap();
    let lines: Vec<String> = BufReader::new(stream)
        .lines()
        .map(Result::unwrap)
        .filter(|line| line.starts_with('{'))
        .take(8)
        .collect();
    let numbers: Vec<u32> = lines
        .iter()
        .map(|line| {
            let line: rubus_service::status::LogLine = serde_json::from_str(line).unwrap();
            line.text.strip_prefix("line ").unwrap().parse().unwrap()
        })
        .collect();
    for pair in numbers.windows(2) {
        assert_eq!(pair[1], pair[0] + 1);
    }
}
