//! Settings on trial are taken back, whatever dies meanwhile.

use std::{
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use rubus_tests::{
    image::image,
    node::{Node, Options},
};

const MINUTE: Duration = Duration::from_secs(60);

fn wait_ready(node: &mut Node) {
    node.wait_ssh(3 * MINUTE);
    node.wait_ssh_command("ros os status --check", 3 * MINUTE);
}

/// The runtime counts from when the trial began; the rest is for its work, on
/// a busy machine.
fn wait_taken_back(node: &mut Node) {
    node.wait_ssh_command("! ros os status | grep -q 'On trial'", 3 * MINUTE);
}

#[test]
fn settings_that_nobody_confirms_are_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(folder.path().join("state.qcow2")),
        ..Options::default()
    };
    let mut node = Node::boot(&image("qemu-virt"), &options);
    wait_ready(&mut node);
    an_address_that_cannot_be_reached(&mut node);
    a_runtime_that_dies(&mut node);
    what_is_confirmed_stays(&mut node);

    // A power cut during a trial.
    node.ssh("ros config set --try 1h ntp.servers 10.0.2.99");
    node.cut_power();
    let mut node = Node::boot(&image("qemu-virt"), &options);
    wait_ready(&mut node);
    assert_eq!(node.ssh("ros config get ntp.servers"), "[\"10.0.2.4\"]\n");
    assert!(!node.ssh("ros os status").contains("On trial"));
    logs_outlive_a_reboot(&mut node);
}

fn logs_outlive_a_reboot(node: &mut Node) {
    node.ssh("ros config set logging.persist true");
    // Every login is a line.
    let before = node.ssh("ros logs --json -n 1 console");
    // The connection may end before the command does.
    node.try_ssh("ros os reboot");
    node.wait_console("restarts", MINUTE);
    wait_ready(node);
    let kept = node.ssh("ros logs --json console");
    assert!(kept.contains(before.trim()), "{before} is not in {kept}");
    assert!(kept.contains("the node booted"), "{kept}");
}

fn an_address_that_cannot_be_reached(node: &mut Node) {
    // Seen by the node alone, once a second.
    node.ssh(
        "nohup sh -c 'while sleep 1; do ip -brief address show eth0; done' \
         > /tmp/addresses 2>&1 < /dev/null &",
    );
    let network = |node: &Node| node.ssh("ros config get --json network");
    let before = network(node);
    let change = "ros config set --try 20s network.interfaces.eth0 \
                  '{ addresses = [\"192.168.77.5/24\"], dhcp = false }'";
    let mut session = node
        .ssh_command()
        .arg(change)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Long enough for the change, and then the session is gone for good.
    thread::sleep(Duration::from_secs(12));
    session.kill().unwrap();
    session.wait().unwrap();

    let begin = Instant::now();
    node.wait_ssh(3 * MINUTE);
    wait_taken_back(node);
    println!("the node answers {:?} after the session", begin.elapsed());
    let seen = node.ssh("cat /tmp/addresses");
    assert!(seen.contains("192.168.77.5/24"), "{seen}");
    assert_eq!(network(node), before);
    let now = node.ssh("ip -brief address show eth0");
    assert!(
        now.contains("10.0.2.15") && !now.contains("192.168"),
        "{now}"
    );
}

fn a_runtime_that_dies(node: &mut Node) {
    node.ssh("ros config set --try 10s ntp.servers 10.0.2.3");
    let sources = "ros service exec ntp -- chronyc -n sources";
    node.wait_ssh_command(&format!("{sources} | grep -q 10.0.2.3"), MINUTE);
    node.ssh("sudo pkill -KILL -x system-runtime");
    wait_taken_back(node);
    assert_eq!(node.ssh("ros config get ntp.servers"), "[]\n");
    node.wait_ssh_command(&format!("! {sources} | grep -q 10.0.2.3"), MINUTE);
}

fn what_is_confirmed_stays(node: &mut Node) {
    let said = node.ssh("ros config set --try 15s ntp.servers 10.0.2.4");
    assert!(said.contains("ros config confirm"), "{said}");
    assert!(node.ssh("ros os status").contains("On trial  ntp.servers"));
    assert_eq!(node.ssh("ros config confirm"), "kept: ntp.servers\n");
    thread::sleep(Duration::from_secs(17));
    assert_eq!(node.ssh("ros config get ntp.servers"), "[\"10.0.2.4\"]\n");
}
