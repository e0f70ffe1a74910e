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
    the_firmware_gets_lines_of_the_settings(&node);
}

/// What the firmware makes of them is seen on a real board only.
fn the_firmware_gets_lines_of_the_settings(node: &Node) {
    let mounted = "grep ' /run/rubus/slot vfat ro,' /proc/1/mounts";
    node.ssh(mounted);
    let said = node.ssh("ros config set firmware.config gpu_mem=64 disable_splash=1");
    assert!(said.contains("counts from the next boot"), "{said}");
    // As it is on the card, not as the kernel remembers it.
    let on_the_card = || {
        node.ssh(
            "sudo sh -c 'echo 3 > /proc/sys/vm/drop_caches; \
             cat /proc/1/root/run/rubus/slot/config.txt'",
        )
    };
    let text = on_the_card();
    assert!(
        text.contains("[all]\ngpu_mem=64\ndisable_splash=1\n"),
        "{text}"
    );
    assert!(text.contains("kernel=vmlinuz"), "{text}");
    node.ssh("ros config unset firmware.config");
    assert!(!on_the_card().contains("gpu_mem"));
    let refused = node.try_ssh("ros config set firmware.config dtoverlay=vc4-kms-v3d");
    assert_eq!(refused.status.code(), Some(1));
    node.ssh(mounted);
}

#[test]
fn the_rpi3_image_boots_on_a_3b() {
    boots_to_a_login("rpi3", "Raspberry Pi 3 Model B");
}

#[test]
fn the_rpi4_image_boots_on_a_4b() {
    boots_to_a_login("rpi4", "Raspberry Pi 4 Model B");
}
