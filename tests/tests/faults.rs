//! Cards and images on which a node cannot start: its console says why.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    process::Command,
    time::Duration,
};

use rubus_tests::{
    disk::Table,
    image::image,
    node::{Node, Options},
    tools::must,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Where a squashfs begins in a slot: at a cluster of the FAT.
fn find_squashfs(image: &Path) -> u64 {
    let slot = Table::of(image).partitions[1];
    let mut file = fs::File::open(image).unwrap();
    file.seek(SeekFrom::Start(slot.start)).unwrap();
    let mut sector = [0; 512];
    (0..slot.size / 512)
        .find(|_| {
            file.read_exact(&mut sector).unwrap();
            sector.starts_with(b"hsqs")
        })
        .map(|index| slot.start + index * 512)
        .expect("a squashfs in the slot")
}

/// A copy of the image with other bytes in its squashfs.
fn damaged(folder: &Path, at: u64, length: usize) -> std::path::PathBuf {
    let image = image("qemu-virt");
    let copy = folder.join("damaged.img");
    must(
        Command::new("cp")
            .arg("--sparse=always")
            .args([&image, &copy]),
    );
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&copy)
        .unwrap();
    let start = find_squashfs(&image) + at;
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(start)).unwrap();
    file.read_exact(&mut bytes).unwrap();
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
    file.seek(SeekFrom::Start(start)).unwrap();
    file.write_all(&bytes).unwrap();
    copy
}

fn says_on_the_console(image: &Path, options: &Options, words: &[&str]) {
    let mut node = Node::boot(image, options);
    for word in words {
        node.wait_console(word, 2 * MINUTE);
    }
    // Nobody looks at once: it stays for a while, then the node tries again.
    node.wait_console("starting again in", MINUTE);
}

#[test]
fn a_damaged_system_image_is_told() {
    let folder = tempfile::tempdir().unwrap();
    // Its first bytes, by which it is known; then the rest of its superblock.
    for (at, length) in [(0, 4), (8, 88)] {
        let image = damaged(folder.path(), at, length);
        says_on_the_console(
            &image,
            &Options::default(),
            &[
                "system.squashfs is damaged",
                "write the image to the card again",
            ],
        );
    }
}

#[test]
fn a_card_that_is_too_small_is_told() {
    says_on_the_console(
        &image("qemu-virt"),
        &Options {
            disk: Some("512M"),
            ..Options::default()
        },
        &["the card is too small", "use a larger card"],
    );
}
