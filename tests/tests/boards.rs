//! Images of Pi boards, on the Pis that QEMU emulates.

use std::time::Duration;

use rubus_tests::{
    image::image,
    node::{Node, Options},
};

/// Emulated Pis are slow, and share the processors with the rest of the tests.
const BOOT: Duration = Duration::from_secs(300);

fn boots_to_a_login(board: &str, model: &str) {
    let mut node = Node::boot(&image(board), &Options::default());
    node.wait_ssh(BOOT);
    let version = node.ssh("ros os version");
    assert!(version.contains(&format!("for {board}")), "{version}");
    let found = node.ssh("tr -d '\\0' < /proc/device-tree/model");
    assert!(found.starts_with(model), "{found}");
    // The card is used whole: slot B and the data have partitions.
    let partitions = node.ssh("grep -c 'mmcblk[0-9]p[1-4]$' /proc/partitions");
    assert_eq!(partitions.trim(), "4");
    node.wait_ssh_command("ros os status --check", BOOT);
}

#[test]
fn the_rpi3_image_boots_on_a_3b() {
    boots_to_a_login("rpi3", "Raspberry Pi 3 Model B");
}

#[test]
fn the_rpi4_image_boots_on_a_4b() {
    boots_to_a_login("rpi4", "Raspberry Pi 4 Model B");
}
