//! The plug is pulled again and again while settings are changed: the node
//! always boots, with what was confirmed last or what was being written, and
//! never with a mixture.
//!
//! It goes on until there were hundreds of changes and a few cuts;
//! `RUBUS_TESTS_POWER_CUTS=20` cuts that often at least.

use std::{
    env,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader},
    process::Stdio,
    thread,
    time::Duration,
};

use rubus_tests::{
    image::image,
    node::{Node, Options},
};

const MINUTE: Duration = Duration::from_secs(60);
/// Changes that are confirmed over all power cuts, at least.
const LEAST_CHANGES: u64 = 300;
/// The most changes between two power cuts.
const MOST_BETWEEN: u64 = 100;
/// Longer than a change takes on a busy host, so that a cut meets any moment of
/// one.
const ONE_CHANGE: Duration = Duration::from_millis(1500);
/// Two keys that always have the same number and concern no service.
const KEYS: [&str; 2] = ["vm.dirty_expire_centisecs", "vm.dirty_writeback_centisecs"];

fn cuts() -> usize {
    match env::var("RUBUS_TESTS_POWER_CUTS") {
        Ok(count) => count.parse().expect("RUBUS_TESTS_POWER_CUTS is a number"),
        Err(_) => 5,
    }
}

/// Changes settings without end, from the number after `from`, and prints each
/// number once the change is confirmed.
fn change_forever(from: u64) -> String {
    format!(
        "n={from}; while n=$((n + 1)); do
             printf '[kernel.sysctl]\\n\"{}\" = %d\\n\"{}\" = %d\\n' $n $n |
                 ros config merge - > /dev/null && echo $n || exit
         done",
        KEYS[0], KEYS[1]
    )
}

/// Lets the node make a number of changes and pulls the plug somewhere in one of
/// the next; the last number that it confirmed.
fn cut_while_it_changes(node: Node, from: u64) -> u64 {
    let random = RandomState::new().hash_one(from);
    let changes = 1 + random % MOST_BETWEEN;
    let then = ONE_CHANGE.mul_f64((random >> 32) as f64 / f64::from(u32::MAX));
    let mut session = node
        .ssh_command()
        .arg(change_forever(from))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut confirmed = BufReader::new(session.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let last = confirmed.nth(changes as usize - 1);
    let last = last.expect("the changes are confirmed");
    let plug = thread::spawn(move || {
        thread::sleep(then);
        node.cut_power();
    });
    // The session ends with the node; what came before that was confirmed.
    let last = confirmed.last().unwrap_or(last).parse().unwrap();
    plug.join().unwrap();
    session.wait().unwrap();
    println!("power cut {then:?} after {changes} changes; confirmed up to {last}");
    last
}

/// The number that both keys have.
fn number(node: &Node) -> u64 {
    let [one, other] = KEYS.map(|key| {
        let text = node.ssh(&format!("ros config get kernel.sysctl.{key}"));
        text.trim().parse::<u64>().unwrap()
    });
    assert_eq!(one, other, "a mixture of two changes");
    one
}

#[test]
#[ignore = "a campaign: tests/run --campaigns"]
fn settings_survive_a_power_cut_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(folder.path().join("state.qcow2")),
        ..Options::default()
    };
    let image = image("qemu-virt");
    let mut node = Node::boot(&image, &options);
    node.wait_ssh(4 * MINUTE);
    // Nobody needs them here, and the boots are many.
    node.ssh("ros service disable gateway docker mdns ntp syslog wifi");
    node.ssh("ros config set hostname survivor");
    let first = 3000;
    let (mut last, mut cut) = (first, 0);
    let (mut old, mut new) = (0, 0);
    while cut < cuts() || last - first < LEAST_CHANGES {
        cut += 1;
        let confirmed = cut_while_it_changes(node, last);
        node = Node::boot(&image, &options);
        node.wait_ssh(4 * MINUTE);
        last = number(&node);
        // One more may have been stored, and one confirmed that was still on
        // its way to us.
        assert!(
            (confirmed..=confirmed + 2).contains(&last),
            "cut {cut}: {last} is there, {confirmed} was confirmed"
        );
        *(if last == confirmed {
            &mut old
        } else {
            &mut new
        }) += 1;
        assert_eq!(node.ssh("ros config get hostname"), "survivor\n");
        let status = node.ssh("ros os status");
        assert!(!status.contains("LEFT OUT"), "{status}");
    }
    println!(
        "{} changes and {cut} power cuts: {old} times the value confirmed last was there, \
         {new} times a newer",
        last - first
    );
}
