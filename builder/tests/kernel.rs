//! A prepared kernel, looked at with kmod's own tools.
//!
//! Most tests make a kernel of a few modules. Those that are ignored take real
//! ones: they need a folder with the packages of every board, and
//! `RUBUS_TEST_PACKAGES` to name it.

mod support;

use std::{
    cell::Cell,
    collections::BTreeSet,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use rubus::{
    board::{self, Board, Modules, Pattern},
    cache::Cache,
    kernel::{self, Kernel},
    tree::{Content, Kind, Node, Tree},
};
use support::{
    mutate::{bound_memory, each},
    packages::{self, MODULES, RELEASE},
};

fn boards() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../boards")
}

/// `qemu-virt` with other modules and no device trees.
fn board(keep: &[&str], initramfs: &[&str], early: &[&str]) -> Board {
    let patterns = |texts: &[&str]| {
        let pattern = |text: &&str| Pattern {
            text: (*text).to_owned(),
            place: "boards/test.toml:1".to_owned(),
        };
        texts.iter().map(pattern).collect()
    };
    let mut board = board::load(&boards(), "qemu-virt").unwrap();
    board.modules = Modules {
        keep: patterns(keep),
        initramfs: patterns(initramfs),
        early: patterns(early),
    };
    board
}

fn prepare(board: &Board, cache: &Path) -> anyhow::Result<Kernel> {
    let cache = Cache::at(cache)?;
    kernel::prepare(board, &cache, "key", || Ok(packages::synthetic()))
}

fn write(tree: &Tree, root: &Path) {
    for (path, node) in tree.iter() {
        let path = root.join(path);
        match &node.kind {
            Kind::Directory => fs::create_dir_all(path).unwrap(),
            Kind::File(content) => fs::write(path, content.read().unwrap()).unwrap(),
            Kind::Symlink(target) => std::os::unix::fs::symlink(target, path).unwrap(),
        }
    }
    let lib = root.join("lib");
    if !lib.exists() {
        std::os::unix::fs::symlink("usr/lib", lib).unwrap();
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}; install kmod"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

fn lines(text: &str) -> BTreeSet<&str> {
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

fn file(tree: &Tree, path: &str) -> Vec<u8> {
    match &tree.get(path).unwrap_or_else(|| panic!("no {path}")).kind {
        Kind::File(content) => content.read().unwrap(),
        other => panic!("{path} is {other:?}"),
    }
}

/// Compares our tables with those that depmod makes of the same modules, and
/// lets modprobe read our indexes.
fn agrees_with_kmod(kernel: &Kernel) {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    write(&kernel.modules, &ours);
    write(&kernel.modules, &theirs);
    let at = format!("usr/lib/modules/{}", kernel.release);
    for entry in fs::read_dir(theirs.join(&at)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let input = [
            "modules.order",
            "modules.builtin",
            "modules.builtin.modinfo",
        ];
        if name.starts_with("modules.") && !input.contains(&name) {
            fs::remove_file(path).unwrap();
        }
    }
    run("depmod", &["-b", theirs.to_str().unwrap(), &kernel.release]);

    let read = |root: &Path, name: &str| fs::read_to_string(root.join(&at).join(name)).unwrap();
    for name in ["modules.alias", "modules.softdep", "modules.devname"] {
        let (ours, theirs) = (read(&ours, name), read(&theirs, name));
        assert_eq!(lines(&ours), lines(&theirs), "{name}");
    }
    // The order of dependencies may differ where neither needs the other.
    let dependencies = |text: &str| -> BTreeSet<(String, BTreeSet<String>)> {
        text.lines()
            .map(|line| {
                let (module, needed) = line.split_once(':').unwrap();
                let needed = needed.split_whitespace().map(str::to_owned).collect();
                (module.to_owned(), needed)
            })
            .collect()
    };
    assert_eq!(
        dependencies(&read(&ours, "modules.dep")),
        dependencies(&read(&theirs, "modules.dep"))
    );
    for name in ["modules.builtin.bin", "modules.builtin.alias.bin"] {
        let bytes = |root: &Path| fs::read(root.join(&at).join(name)).unwrap();
        assert!(
            bytes(&ours) == bytes(&theirs),
            "{name} differs from depmod's"
        );
    }

    // Every alias and every module is found in the binary indexes. modprobe
    // must not fall back to the text.
    for name in ["modules.dep", "modules.alias"] {
        fs::remove_file(ours.join(&at).join(name)).unwrap();
    }
    let show = |root: &Path, name: &str| -> BTreeSet<String> {
        let root = root.to_str().unwrap();
        let show = [
            "-d",
            root,
            "-S",
            &kernel.release,
            "-C",
            "/nonexistent",
            "--show-depends",
        ];
        run("modprobe", &[&show[..], &[name]].concat())
            .lines()
            .map(|line| line.replace(root, ""))
            .collect()
    };
    let modules = read(&ours, "modules.order");
    for module in modules.lines().step_by(1 + modules.lines().count() / 40) {
        let name = module.rsplit('/').next().unwrap().trim_end_matches(".ko");
        assert_eq!(show(&ours, name), show(&theirs, name), "{name}");
    }
    let aliases = read(&theirs, "modules.alias");
    let simple: Vec<&str> = aliases
        .lines()
        .filter(|line| !line.contains(['#', '*', '[', '?']))
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    for alias in simple.iter().step_by(1 + simple.len() / 40) {
        assert_eq!(show(&ours, alias), show(&theirs, alias), "{alias}");
    }
}

#[test]
fn kmod_finds_in_our_tables_what_it_finds_in_its_own() {
    let cache = tempfile::tempdir().unwrap();
    let kernel = prepare(
        &board(&["net/**/*", "drivers/*", "crypto/*"], &[], &[]),
        cache.path(),
    )
    .unwrap();
    agrees_with_kmod(&kernel);
}

#[test]
fn a_module_brings_what_it_needs_and_no_more() {
    let cache = tempfile::tempdir().unwrap();
    let kernel = prepare(&board(&["net/usb/*"], &[], &[]), cache.path()).unwrap();
    let modules: Vec<&str> = kernel
        .modules
        .iter()
        .filter_map(|(path, _)| path.split_once("/kernel/").map(|(_, below)| below))
        .filter(|path| path.ends_with(".ko"))
        .collect();
    // `smsc95xx` needs `usbnet`, which needs `mii`; `phy-soft` is a soft
    // dependency; `absent-soft`, another one, is not in the packages.
    assert_eq!(
        modules,
        [
            "net/mii.ko",
            "net/phy/phy-soft.ko",
            "net/usb/smsc95xx.ko",
            "net/usb/usbnet.ko"
        ]
    );
    let (_, module) = MODULES
        .iter()
        .find(|(path, _)| path.ends_with("mii.ko.xz"))
        .unwrap();
    assert_eq!(
        file(
            &kernel.modules,
            &format!("usr/lib/modules/{RELEASE}/kernel/net/mii.ko")
        ),
        packages::module(module),
        "modules are uncompressed and otherwise as they were"
    );
}

#[test]
fn the_initramfs_has_its_modules_in_an_order_that_loads() {
    let cache = tempfile::tempdir().unwrap();
    let board = board(
        &[],
        &["crc32c|absent", "in-kernel", "smsc95xx"],
        &["usbnet", "in-kernel"],
    );
    let kernel = prepare(&board, cache.path()).unwrap();
    let order = file(&kernel.initramfs_modules, "modules/order");
    assert_eq!(
        String::from_utf8(order).unwrap(),
        "crc32c.ko\nmii.ko\nusbnet.ko\nsmsc95xx.ko\n"
    );
    assert_eq!(kernel.early, "usbnet\n");

    let tree = kernel::initramfs::tree(Content::from("init"), &kernel).unwrap();
    let init = tree.get("init").unwrap();
    assert_eq!(init.mode, 0o755);
    assert!(tree.get("modules/smsc95xx.ko").is_some());
}

#[test]
fn the_kernel_is_gzip_of_the_same_bytes_each_time() {
    let images: Vec<Vec<u8>> = (0..2)
        .map(|_| {
            let cache = tempfile::tempdir().unwrap();
            let kernel = prepare(&board(&["mii"], &[], &[]), cache.path()).unwrap();
            kernel.image.read().unwrap()
        })
        .collect();
    assert_eq!(images[0], images[1]);
    let mut image = vec![0; packages::IMAGE.len()];
    libdeflater::Decompressor::new()
        .gzip_decompress(&images[0], &mut image)
        .unwrap();
    assert_eq!(image, packages::IMAGE);
    assert_eq!(&images[0][4..8], [0; 4], "no time of making");
}

#[test]
fn device_trees_are_there_under_all_their_names() {
    let cache = tempfile::tempdir().unwrap();
    let mut board = board(&["mii"], &[], &[]);
    let names = ["bcm1-a", "bcm1"].map(str::to_owned).to_vec();
    board.kernel.dtbs.insert("bcm1-a".to_owned(), names);
    let kernel = prepare(&board, cache.path()).unwrap();
    let dtbs: Vec<(&str, Vec<u8>)> = kernel
        .dtbs
        .iter()
        .map(|(name, content)| (name.as_str(), content.read().unwrap()))
        .collect();
    assert_eq!(
        dtbs,
        [
            ("bcm1-a.dtb", b"tree".to_vec()),
            ("bcm1.dtb", b"tree".to_vec())
        ]
    );

    board.kernel.dtbs.insert("bcm2".to_owned(), vec![]);
    let error = prepare(&board, cache.path()).unwrap_err();
    assert!(format!("{error:#}").contains("bcm2.dtb"), "{error:#}");
}

#[test]
fn what_is_unchanged_comes_from_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path()).unwrap();
    let board_one = board(&["mii"], &[], &[]);
    let unpacked = Cell::new(0);
    let prepare = |board: &Board, key: &str| {
        kernel::prepare(board, &cache, key, || {
            unpacked.set(unpacked.get() + 1);
            Ok(packages::synthetic())
        })
        .unwrap()
    };
    let first = prepare(&board_one, "one");
    let second = prepare(&board_one, "one");
    assert_eq!(unpacked.get(), 1);
    assert_eq!(first.release, second.release);
    assert_eq!(
        first
            .modules
            .iter()
            .map(|(path, _)| path)
            .collect::<Vec<_>>(),
        second
            .modules
            .iter()
            .map(|(path, _)| path)
            .collect::<Vec<_>>()
    );

    prepare(&board_one, "two");
    assert_eq!(unpacked.get(), 2, "other packages");
    prepare(&board(&["usbnet"], &[], &[]), "one");
    assert_eq!(unpacked.get(), 3, "other modules");

    // Data that was cut off is made again.
    for entry in fs::read_dir(folder.path().join("kernels")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "data") {
            fs::File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(10)
                .unwrap();
        }
    }
    prepare(&board_one, "one");
    assert_eq!(unpacked.get(), 4);
}

#[test]
fn what_fails_says_where_and_leaves_nothing_in_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    for (module, expected) in [
        ("no-such", "boards/test.toml:1"),
        ("damaged", "damaged.ko.xz"),
        ("not-elf", "not-elf.ko.xz"),
        ("needs-absent", "absent_module"),
    ] {
        let error = prepare(&board(&[module], &[], &[]), cache.path()).unwrap_err();
        assert!(
            format!("{error:#}").contains(expected),
            "{module}: {error:#}"
        );
    }
    assert!(!cache.path().join("kernels").exists());
    let temporary = fs::read_dir(cache.path().join("tmp")).unwrap();
    assert_eq!(temporary.count(), 0);
}

#[test]
fn a_damaged_module_is_refused_or_passed_over() {
    bound_memory();
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path()).unwrap();
    let board = board(&["smsc95xx"], &[], &[]);
    let path = format!("usr/lib/modules/{RELEASE}/kernel/net/usb/smsc95xx.ko");
    let mut tree = packages::synthetic();
    let packed = file(&tree, &format!("{path}.xz"));
    tree.remove(&format!("{path}.xz"));
    let mut module = Vec::new();
    liblzma::read::XzDecoder::new(&packed[..])
        .read_to_end(&mut module)
        .unwrap();
    let signed = [
        &module[..],
        b"signature",
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
        b"~Module signature appended~\n",
    ]
    .concat();
    let mut key = 0;
    each("module", &[&module, &signed], 100, |bytes| {
        let mut tree = tree.clone();
        let node = Node::file(0o644, bytes.to_vec());
        tree.insert(&path, node).unwrap();
        key += 1;
        let _ = kernel::prepare(&board, &cache, &key.to_string(), || Ok(tree));
    });
    let mut plain = tree.clone();
    plain.insert(&path, Node::file(0o644, signed)).unwrap();
    kernel::prepare(&board, &cache, "whole", || Ok(plain)).unwrap();
}

#[test]
#[ignore = "needs the packages of the boards"]
fn every_board_has_all_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path()).unwrap();
    for board in board::boards(&boards()).unwrap() {
        let kernel = kernel::prepare(&board, &cache, "key", || packages::of_board(&board)).unwrap();
        agrees_with_kmod(&kernel);
        let firmware = kernel::firmware::select(&board, &packages::firmware_of(&board)).unwrap();
        println!(
            "{:10} {}: vmlinuz {} KiB, modules {} files {} KiB, initramfs {} files {} KiB, {} DTBs, firmware p1 {} KiB slot {} KiB system {} KiB",
            board.name,
            kernel.release,
            kernel.image.len() >> 10,
            kernel.modules.len(),
            kernel.modules.bytes() >> 10,
            kernel.initramfs_modules.len(),
            kernel.initramfs_modules.bytes() >> 10,
            kernel.dtbs.len(),
            firmware.start.values().map(Content::len).sum::<u64>() >> 10,
            firmware.slot.values().map(Content::len).sum::<u64>() >> 10,
            firmware.system.bytes() >> 10,
        );
        if let Some(folder) = std::env::var_os("RUBUS_TEST_OUTPUT") {
            let folder = Path::new(&folder).join(&board.name);
            fs::create_dir_all(&folder).unwrap();
            write(&kernel.modules, &folder.join("system"));
            write(&firmware.system, &folder.join("system"));
            write(&kernel.initramfs_modules, &folder.join("initramfs"));
            fs::write(folder.join("vmlinuz"), kernel.image.read().unwrap()).unwrap();
            for (name, dtb) in &kernel.dtbs {
                fs::write(folder.join(name), dtb.read().unwrap()).unwrap();
            }
        }
    }
}
