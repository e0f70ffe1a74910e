//! The plug is pulled again and again while settings are changed: the node
//! always boots, with what was confirmed last or what was being written, and
//! never with a mixture.
//!
//! `RUBUS_TESTS_POWER_CUTS=20` cuts that often instead of a few times.

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

/// Lets the node change settings for a while and pulls the plug; the last
/// number that it confirmed.
fn cut_while_it_changes(node: Node, from: u64) -> u64 {
    // From the first change on, so that it is never too early.
    let after = Duration::from_millis(RandomState::new().hash_one(from) % 5000);
    let mut session = node
        .ssh_command()
        .arg(change_forever(from))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut confirmed = BufReader::new(session.stdout.take().unwrap()).lines();
    let first = confirmed.next().expect("a change is confirmed").unwrap();
    let plug = thread::spawn(move || {
        thread::sleep(after);
        node.cut_power();
    });
    // The session ends with the node; what came before that was confirmed.
    let rest = confirmed.map_while(Result::ok);
    let last = rest.last().unwrap_or(first).parse().unwrap();
    plug.join().unwrap();
    session.wait().unwrap();
    println!("power cut {after:?} after the first change; confirmed up to {last}");
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
    let mut last = 3000;
    let (mut old, mut new) = (0, 0);
    for cut in 0..cuts() {
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
        "{} power cuts: {old} times the value confirmed last, {new} times a newer",
        cuts()
    );
}
