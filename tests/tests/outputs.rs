//! What `rubus build` leaves in the output folder, checked with the tools that
//! other people use.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rubus_tests::{
    disk::{Table, fat_copy, fat_files},
    image::image,
    tools::{must, must_fail, project, rubus, ssh_key},
};
use serde_json::Value;
use tempfile::TempDir;

/// An image of a board, and its partitions as files of their own.
struct Image {
    board: &'static str,
    path: PathBuf,
    table: Table,
    boot: PathBuf,
    slot: PathBuf,
    folder: TempDir,
}

impl Image {
    fn of(board: &'static str) -> Self {
        let path = image(board);
        let folder = tempfile::tempdir().unwrap();
        let (boot, slot) = (folder.path().join("boot"), folder.path().join("slot"));
        let table = Table::of(&path);
        assert_eq!(
            table.partitions.len(),
            2,
            "the other two are made on first boot"
        );
        table.extract(1, &boot);
        table.extract(2, &slot);
        Self {
            board,
            path,
            table,
            boot,
            slot,
            folder,
        }
    }

    /// The file of an output: `rubus-BOARD.` and an ending.
    fn output(&self, ending: &str) -> PathBuf {
        self.path
            .with_file_name(format!("rubus-{}.{ending}", self.board))
    }

    fn json(&self, ending: &str) -> Value {
        let text = fs::read_to_string(self.output(ending)).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// The lines of `unsquashfs -lln`, by path.
    fn system_root(&self) -> Vec<String> {
        let squashfs = self.folder.path().join("system.squashfs");
        fat_copy(&self.slot, "system.squashfs", &squashfs);
        let text = must(Command::new("unsquashfs").arg("-lln").arg(&squashfs));
        text.lines().map(str::to_owned).collect()
    }
}

fn both() -> [Image; 2] {
    [Image::of("qemu-virt"), Image::of("rpi4")]
}

fn same_bytes(a: &Path, b: &Path) {
    must(Command::new("cmp").args([a, b]));
}

#[test]
fn the_partition_table_is_sound_and_of_the_kind_that_the_board_reads() {
    for (image, label) in both().iter().zip(["gpt", "dos"]) {
        assert_eq!(image.table.label, label);
        let said = must(Command::new("sfdisk").arg("--verify").arg(&image.path));
        assert!(said.contains("No errors detected"), "{said}");
        let mib = 1 << 20;
        assert_eq!(image.table.partitions[0].size, 64 * mib);
        assert!(
            image
                .table
                .partitions
                .iter()
                .all(|p| p.start % (4 * mib) == 0)
        );
    }
    let said = must(Command::new("sgdisk").arg("-v").arg(image("qemu-virt")));
    assert!(said.contains("No problems found"), "{said}");
}

#[test]
fn both_filesystems_pass_a_check() {
    for image in both() {
        for filesystem in [&image.boot, &image.slot] {
            must(Command::new("fsck.vfat").arg("-n").arg(filesystem));
        }
    }
}

#[test]
fn a_slot_holds_all_that_a_version_needs() {
    let [virt, rpi4] = both();
    let common = [
        "cmdline.txt",
        "initrd.img",
        "manifest.json",
        "system.squashfs",
        "vmlinuz",
    ];
    assert_eq!(fat_files(&virt.slot), common);
    assert!(fat_files(&virt.boot).is_empty());

    let firmware = [
        "bcm2711-rpi-4-b.dtb",
        "bcm2711-rpi-400.dtb",
        "bcm2711-rpi-cm4-io.dtb",
        "bcm2711-rpi-cm4.dtb",
        "config.txt",
        "fixup4.dat",
        "start4.elf",
    ];
    let mut expected: Vec<&str> = common.into_iter().chain(firmware).collect();
    expected.sort_unstable();
    assert_eq!(fat_files(&rpi4.slot), expected);
    assert_eq!(
        fat_files(&rpi4.boot),
        ["autoboot.txt", "fixup4.dat", "start4.elf"]
    );
}

/// No machine here can boot it, so at least it is looked at.
#[test]
fn the_slot_of_a_pi_5_has_the_names_that_its_firmware_looks_for() {
    let rpi5 = Image::of("rpi5");
    assert_eq!(rpi5.table.label, "dos");
    assert_eq!(
        fat_files(&rpi5.slot),
        [
            "bcm2712-d-rpi-5-b.dtb",
            "bcm2712-rpi-5-b.dtb",
            "bcm2712d0-rpi-5-b.dtb",
            "cmdline.txt",
            "config.txt",
            "initrd.img",
            "manifest.json",
            "system.squashfs",
            "vmlinuz",
        ]
    );
    // Its firmware is on the board.
    assert_eq!(fat_files(&rpi5.boot), ["autoboot.txt"]);
}

#[test]
fn the_command_line_names_the_slot_by_its_partition() {
    let virt = Image::of("qemu-virt");
    let cmdline = virt.folder.path().join("cmdline.txt");
    fat_copy(&virt.slot, "cmdline.txt", &cmdline);
    let text = fs::read_to_string(cmdline).unwrap();
    let said = must(
        Command::new("sfdisk")
            .args(["--part-uuid"])
            .arg(&virt.path)
            .arg("2"),
    );
    let slot = format!("rubus.slot=PARTUUID={}", said.trim().to_lowercase());
    assert!(text.split_whitespace().any(|word| word == slot), "{text}");
}

#[test]
fn the_system_root_keeps_owners_and_modes() {
    let lines = Image::of("qemu-virt").system_root();
    let entry = |path: &str| {
        let line = lines
            .iter()
            .find(|line| line.ends_with(&format!(" squashfs-root{path}")))
            .unwrap_or_else(|| panic!("no {path} in system.squashfs"));
        let mut words = line.split_whitespace();
        (
            words.next().unwrap().to_owned(),
            words.next().unwrap().to_owned(),
        )
    };
    let console = "/usr/lib/rubus/services/console/rootfs";
    for (path, mode, owner) in [
        ("/usr/sbin/init", "-rwxr-xr-x", "0/0"),
        ("/usr/bin/system-runtime", "-rwxr-xr-x", "0/0"),
        ("/usr/bin/configure", "-rwxr-xr-x", "0/0"),
        ("/usr/bin/ros", "-rwxr-xr-x", "0/0"),
        ("/usr/bin/crun", "-rwxr-xr-x", "0/0"),
        // It may hold secrets of the user.
        ("/usr/share/rubus/config.toml", "-rw-------", "0/0"),
        (&format!("{console}/usr/bin/sudo"), "-rwsr-xr-x", "0/0"),
        (&format!("{console}/etc/shadow"), "-rw-r-----", "0/42"),
        (&format!("{console}/tmp"), "drwxrwxrwt", "0/0"),
    ] {
        assert_eq!(entry(path), (mode.to_owned(), owner.to_owned()), "{path}");
    }
    // The builder runs as anybody, and nothing of that shows.
    let strange: Vec<&String> = lines
        .iter()
        .filter(|line| line.contains("squashfs-root"))
        .filter(|line| {
            let owner = line.split_whitespace().nth(1).unwrap();
            !matches!(owner, "0/0" | "0/42")
        })
        .collect();
    assert!(strange.is_empty(), "{strange:#?}");
    assert!(
        !lines.iter().any(|line| line.contains("var/lib/dpkg")),
        "the database of a package manager that is not there"
    );
}

#[test]
fn the_list_of_hashes_holds() {
    for image in both() {
        let list = image.output("sha256");
        let said = must(
            Command::new("sha256sum")
                .args(["--strict", "-c"])
                .arg(&list)
                .current_dir(list.parent().unwrap()),
        );
        for ending in ["img", "img.zst", "bmap", "spdx.json", "manifest.json"] {
            let line = format!("rubus-{}.{ending}: OK", image.board);
            assert!(
                said.lines().any(|found| found == line),
                "no {line} in\n{said}"
            );
        }
    }
}

#[test]
fn the_compressed_image_and_the_map_give_the_same_bytes() {
    for image in both() {
        let copy = image.folder.path().join("copy.img");
        must(
            Command::new("zstd")
                .args(["-q", "-d", "-f"])
                .arg(image.output("img.zst"))
                .arg("-o")
                .arg(&copy),
        );
        same_bytes(&image.path, &copy);

        fs::remove_file(&copy).unwrap();
        must(
            Command::new("bmaptool")
                .args(["copy", "--bmap"])
                .arg(image.output("bmap"))
                .arg(image.output("img.zst"))
                .arg(&copy),
        );
        // What the map leaves out is not written, and was never there.
        must(
            Command::new("truncate")
                .arg("--reference")
                .arg(&image.path)
                .arg(&copy),
        );
        same_bytes(&image.path, &copy);
    }
}

#[test]
fn the_compressed_image_of_the_pi_4_is_small() {
    let rpi4 = Image::of("rpi4");
    let size = fs::metadata(rpi4.output("img.zst")).unwrap().len();
    assert!(size < 130_000_000, "{size} bytes");
}

#[test]
fn the_bill_of_materials_has_each_locked_package_of_the_image() {
    let text = fs::read_to_string(project().join("rubus.lock")).unwrap();
    let lock: toml::Table = toml::from_str(&text).unwrap();
    for image in both() {
        let bill = image.json("spdx.json");
        assert_eq!(bill["spdxVersion"], "SPDX-2.3");
        let listed: BTreeSet<String> = bill["packages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|package| {
                let word = |key: &str| package[key].as_str().unwrap_or_default();
                format!("{}={}", word("name"), word("versionInfo"))
            })
            .collect();

        let mut count = 0;
        for (name, set) in lock["set"].as_table().unwrap() {
            let (kind, of) = name.split_once('/').unwrap_or((name, ""));
            if matches!(kind, "kernel" | "firmware") && of != image.board {
                continue;
            }
            // Further engines and consoles, and optional services, are in the
            // images that ask for them; see variants.rs.
            if of.contains('/') || matches!(of, "registry" | "node-exporter") {
                continue;
            }
            for package in set["closure"].as_array().unwrap() {
                let package = package.as_str().unwrap();
                assert!(
                    listed.contains(package),
                    "{package} of {name} is not listed"
                );
                count += 1;
            }
        }
        assert!(count > 100, "{count} packages");
    }
}

#[test]
fn inspect_says_what_is_in_an_image() {
    for image in both() {
        for file in [image.path.clone(), image.output("img.zst")] {
            let said = must(rubus().args(["inspect", "--json"]).arg(&file));
            let report: Value = serde_json::from_str(&said).unwrap();
            let slots = report["slots"].as_array().unwrap();
            assert_eq!(slots.len(), 1);
            assert_eq!(slots[0]["name"], "A");
            let manifest = &slots[0]["manifest"];
            assert_eq!(*manifest, image.json("manifest.json"));
            assert_eq!(manifest["board"], image.board);
            let services = manifest["services"].as_object().unwrap();
            for name in [
                "console", "docker", "gateway", "mdns", "network", "ntp", "syslog", "udev", "wifi",
            ] {
                assert_eq!(services[name]["enabled"], true, "{name}");
            }
            let engine = &services["docker"]["packages"]["docker.io"];
            assert!(engine.as_str().unwrap().starts_with("26.1.5"), "{engine}");
            assert!(manifest["sizes"]["service docker"].as_u64().unwrap() > 10 << 20);
        }
        let said = must(rubus().arg("inspect").arg(&image.path));
        for word in [image.board, "Slot A", "service docker", "24 packages"] {
            assert!(said.contains(word), "no {word:?} in\n{said}");
        }
        let said = must(rubus().args(["inspect", "--packages"]).arg(&image.path));
        let engine = said
            .lines()
            .filter_map(|line| line.trim().split_once(' '))
            .find(|(name, _)| *name == "docker.io");
        assert!(engine.unwrap().1.trim().starts_with("26.1.5"), "{said}");
    }
}

#[test]
fn inspect_finds_damage() {
    let virt = Image::of("qemu-virt");
    let copy = virt.folder.path().join("damaged.img");
    fs::copy(&virt.path, &copy).unwrap();
    // The middle of the slot's largest file.
    let at = virt.table.partitions[1].start + (40 << 20);
    must(
        Command::new("dd")
            .arg("if=/dev/urandom")
            .arg(format!("of={}", copy.display()))
            .args([
                "bs=4k",
                "count=1",
                "conv=notrunc",
                "oflag=seek_bytes",
                "status=none",
            ])
            .arg(format!("seek={at}")),
    );
    let said = must_fail(rubus().arg("inspect").arg(&copy), 1);
    assert!(said.contains("SHA-256"), "{said}");

    fs::write(&copy, "not an image").unwrap();
    must_fail(rubus().arg("inspect").arg(&copy), 1);
    let said = must_fail(rubus().args(["inspect", "absent.img"]), 1);
    assert!(said.contains("absent.img"), "{said}");
}

#[test]
fn an_image_can_be_compressed_with_xz_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let image = image("qemu-virt");
    let build = |how: &[&str]| {
        must(
            rubus()
                .args(["build", "--board", "qemu-virt", "--compress"])
                .args(how)
                .arg("--out")
                .arg(folder.path())
                .arg("--ssh-key")
                .arg(ssh_key().with_extension("pub")),
        )
    };
    build(&["none"]);
    let path = folder.path().join("rubus-qemu-virt.img");
    same_bytes(&image, &path);
    assert!(!path.with_extension("img.zst").exists());

    build(&["xz", "--level", "0"]);
    let copy = folder.path().join("copy.img");
    must(
        Command::new("sh")
            .arg("-c")
            .arg("xz -d -c \"$0\" > \"$1\"")
            .args([&path.with_extension("img.xz"), &copy]),
    );
    same_bytes(&image, &copy);
}
