//! What we write, checked with the tools that everybody else uses.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    ops::Range,
    path::Path,
    process::Command,
};

use rubus::{
    image::{
        cpio,
        disk::{self, Layout, PartitionTable},
        fat::Files,
        output::{Compression, Outputs},
        squashfs,
    },
    tree::{Content, Kind, Node, Tree},
};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
const TIME: i64 = 1_700_000_000;

/// Runs a tool of a Debian package and returns what it prints; it must
/// succeed.
fn run(package: &str, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("TZ", "UTC")
        .output()
        .unwrap_or_else(|error| {
            panic!("cannot run {program}: {error}; install the Debian package {package}")
        });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn path(directory: &TempDir, name: &str) -> String {
    directory.path().join(name).to_str().unwrap().to_owned()
}

/// Bytes that do not compress, the same on every run.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A tree with one of everything that can go wrong.
fn tree() -> Tree {
    let mut tree = Tree::new();
    let mut put = |path: &str, node: Node| tree.insert(path, node).unwrap();
    let of = |mut node: Node, uid: u32, gid: u32| {
        (node.uid, node.gid) = (uid, gid);
        node
    };
    let library = noise(700_000, 1);
    for service in ["console", "docker", "ntp"] {
        let below = |name: &str| format!("srv/{service}/{name}");
        put(&below("lib.so"), Node::file(0o755, library.clone()));
        put(&below("small"), Node::file(0o644, "shared text\n"));
        put(&below("empty"), Node::file(0o600, ""));
    }
    put("srv/ntp/private", Node::file(0o600, library.clone()));
    put("bin/su", Node::file(0o4755, noise(300, 2)));
    put("bin/wall", of(Node::file(0o2755, noise(301, 3)), 0, 5));
    put("tmp", Node::directory(0o1777));
    let home = Node::directory(0o700);
    put("home/user", of(home, 1000, 70_000));
    let link = Node::symlink("../../bin/su");
    put("home/user/link", of(link, 1000, 70_000));
    put("zeros", Node::file(0o644, vec![0; 3 << 20]));
    put("tail", Node::file(0o644, noise((256 << 10) + 1, 4)));
    put("exact", Node::file(0o644, noise(512 << 10, 5)));
    let mut holes = vec![0; 2 << 20];
    holes[1_500_000..].copy_from_slice(&noise((2 << 20) - 1_500_000, 6));
    put("holes", Node::file(0o644, holes));
    put("text", Node::file(0o644, "words ".repeat(200_000)));
    for number in 0..3000 {
        put(
            &format!("many/a-rather-long-name-of-a-file-{number:05}"),
            Node::file(0o644, format!("{number}")),
        );
    }
    put("a.b", Node::file(0o644, "sorts between a and a/b"));
    put("a/b", Node::file(0o644, "below a"));
    tree
}

fn squash(tree: &Tree, options: squashfs::Options, to: &str) -> squashfs::Stats {
    let mut file = File::create(to).unwrap();
    squashfs::write(tree, TIME as u32, options, &mut file).unwrap()
}

fn unsquash(image: &str, to: &str) {
    let arguments = ["-q", "-n", "-d", to, image];
    run("squashfs-tools", "unsquashfs", &arguments);
}

/// Mode, owner, group and link target of every path, as `ls` writes them.
fn listing(tree: &Tree) -> BTreeMap<String, String> {
    tree.iter()
        .map(|(path, node)| {
            let (kind, target) = match &node.kind {
                Kind::Directory => ('d', String::new()),
                Kind::File(_) => ('-', String::new()),
                Kind::Symlink(target) => ('l', format!(" -> {target}")),
            };
            let bits: String = (0..9)
                .map(|bit| match bit {
                    2 if node.mode & 0o4000 != 0 => 's',
                    5 if node.mode & 0o2000 != 0 => 's',
                    8 if node.mode & 0o1000 != 0 => 't',
                    _ if node.mode & (0o400 >> bit) == 0 => '-',
                    _ => ['r', 'w', 'x'][bit % 3],
                })
                .collect();
            let (uid, gid) = (node.uid, node.gid);
            (path.to_owned(), format!("{kind}{bits} {uid}/{gid}{target}"))
        })
        .collect()
}

#[test]
fn a_squashfs_has_the_content_modes_and_owners_of_the_tree() {
    let directory = TempDir::new().unwrap();
    let (image, out) = (path(&directory, "x.squashfs"), path(&directory, "x"));
    let tree = tree();
    squash(&tree, squashfs::Options::default(), &image);

    let text = run("squashfs-tools", "unsquashfs", &["-lln", &image]);
    let listed: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| {
            let (start, name) = line.split_once(" squashfs-root/")?;
            let fields: Vec<_> = start.split_whitespace().collect();
            let (name, target) = match name.split_once(" -> ") {
                Some((name, target)) => (name, format!(" -> {target}")),
                None => (name, String::new()),
            };
            let attributes = format!("{} {}{target}", fields[0], fields[1]);
            Some((name.to_owned(), attributes))
        })
        .collect();
    assert_eq!(listed, listing(&tree));

    unsquash(&image, &out);
    for (path, node) in tree.iter() {
        if let Kind::File(content) = &node.kind {
            let bytes = fs::read(Path::new(&out).join(path)).unwrap();
            assert!(bytes == content.read().unwrap(), "{path} differs");
        }
    }
}

#[test]
fn equal_files_are_one_inode_and_equal_content_is_stored_once() {
    use std::os::unix::fs::MetadataExt;
    let directory = TempDir::new().unwrap();
    let (image, out) = (path(&directory, "x.squashfs"), path(&directory, "x"));
    let stats = squash(&tree(), squashfs::Options::default(), &image);
    unsquash(&image, &out);
    let inode = |path: &str| fs::metadata(Path::new(&out).join(path)).unwrap().ino();
    assert_eq!(inode("srv/console/lib.so"), inode("srv/ntp/lib.so"));
    assert_eq!(inode("srv/console/small"), inode("srv/ntp/small"));
    assert_ne!(inode("srv/console/lib.so"), inode("srv/ntp/private"));
    assert_ne!(inode("srv/console/empty"), inode("srv/ntp/empty"));

    let holders = stats.packed.values().filter(|size| **size == 700_000);
    assert_eq!(holders.count(), 1);
    let incompressible = 700_000 + (256 << 10) + 1 + (512 << 10) + 600_000;
    assert!(stats.size < incompressible + 200_000, "{}", stats.size);
}

#[test]
fn a_squashfs_does_not_depend_on_the_number_of_cores() {
    let directory = TempDir::new().unwrap();
    let tree = tree();
    let pack = |threads: usize| {
        let image = path(&directory, &threads.to_string());
        let options = squashfs::Options {
            threads,
            ..squashfs::Options::default()
        };
        squash(&tree, options, &image);
        fs::read(image).unwrap()
    };
    let one = pack(1);
    assert!(one == pack(2) && one == pack(7));
}

#[test]
fn every_block_size_can_be_read() {
    let directory = TempDir::new().unwrap();
    let tree = tree();
    for block_size in [4096, 128 << 10, 1 << 20] {
        let image = path(&directory, "x.squashfs");
        let out = path(&directory, &block_size.to_string());
        let options = squashfs::Options {
            block_size,
            ..squashfs::Options::default()
        };
        squash(&tree, options, &image);
        unsquash(&image, &out);
        let holes = fs::read(Path::new(&out).join("holes")).unwrap();
        assert!(holes[1_500_000..] == noise((2 << 20) - 1_500_000, 6));
    }
}

#[test]
fn an_empty_tree_is_a_squashfs() {
    let directory = TempDir::new().unwrap();
    let image = path(&directory, "x.squashfs");
    squash(&Tree::new(), squashfs::Options::default(), &image);
    let text = run("squashfs-tools", "unsquashfs", &["-lln", &image]);
    assert!(text.contains("drwxr-xr-x 0/0"), "{text}");
}

#[test]
fn an_initramfs_is_a_cpio_with_the_content_of_the_tree() {
    let directory = TempDir::new().unwrap();
    let mut tree = Tree::new();
    let mut put = |path: &str, node: Node| tree.insert(path, node).unwrap();
    put("init", Node::file(0o755, noise(4097, 1)));
    put("modules/order", Node::file(0o644, "loop.ko\n"));
    put("lib", Node::symlink("usr/lib"));
    let packed = cpio::initramfs(&tree, TIME as u32, cpio::LEVEL).unwrap();
    let again = cpio::initramfs(&tree, TIME as u32, cpio::LEVEL).unwrap();
    assert!(packed == again);

    let (zst, plain) = (path(&directory, "x.zst"), path(&directory, "x.cpio"));
    fs::write(&zst, &packed).unwrap();
    run("zstd", "zstd", &["-q", "-d", &zst, "-o", &plain]);
    let script = format!("cpio -tv --numeric-uid-gid < {plain}");
    let text = run("cpio", "sh", &["-c", &script]);
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .map(|fields| (fields[0], fields[4], fields[8..].join(" ")))
        .collect();
    assert_eq!(
        lines,
        [
            ("-rwxr-xr-x", "4097", "init".to_owned()),
            ("lrwxrwxrwx", "7", "lib -> usr/lib".to_owned()),
            ("drwxr-xr-x", "0", "modules".to_owned()),
            ("-rw-r--r--", "8", "modules/order".to_owned()),
        ]
    );
    let folder = directory.path().display();
    let script = format!("cd {folder} && cpio -i --quiet init < {plain}");
    run("cpio", "sh", &["-c", &script]);
    assert!(fs::read(path(&directory, "init")).unwrap() == noise(4097, 1));
}

fn boot_files() -> Files {
    let names = [
        "bootcode.bin",
        "start.elf",
        "fixup.dat",
        "autoboot.txt",
        "user-data",
    ];
    names
        .into_iter()
        .zip(1..)
        .map(|(name, seed)| (name.to_owned(), noise(50_000 * seed, seed as u64).into()))
        .collect()
}

fn slot_files() -> Files {
    let file = |name: &str, content: Content| (name.to_owned(), content);
    Files::from([
        file("cmdline.txt", "console=tty0\n".into()),
        file("bcm2712d0-rpi-5-b.dtb", noise(60_000, 11).into()),
        file("system.squashfs", noise(20 << 20, 12).into()),
        file("vmlinuz", noise(9_999_999, 13).into()),
    ])
}

fn layout(table: PartitionTable) -> Layout {
    Layout::new(table, "build-1", 64 * MIB).unwrap()
}

fn write_disk(table: PartitionTable, to: &str) -> Vec<Range<u64>> {
    let out = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(to)
        .unwrap();
    disk::write(&layout(table), TIME, &boot_files(), &slot_files(), &out).unwrap()
}

#[test]
fn the_filesystems_of_a_disk_are_sound_and_hold_the_files() {
    let directory = TempDir::new().unwrap();
    let image = path(&directory, "x.img");
    let layout = layout(PartitionTable::Mbr);
    write_disk(PartitionTable::Mbr, &image);
    let whole = fs::read(&image).unwrap();
    for (partition, files, label) in [
        (&layout.boot, boot_files(), "RUBUS"),
        (&layout.slot, slot_files(), "RUBUS_A"),
    ] {
        let volume = path(&directory, label);
        let range = partition.start as usize..(partition.start + partition.size) as usize;
        fs::write(&volume, &whole[range]).unwrap();
        let text = run("dosfstools", "fsck.vfat", &["-n", "-v", &volume]);
        assert!(text.contains("32 bit entries"), "{text}");
        assert!(!text.contains("uninitialized"), "{text}");

        let text = run("mtools", "mdir", &["-i", &volume, "-b", "::"]);
        let names: Vec<_> = text
            .lines()
            .map(|line| line.trim_start_matches("::/"))
            .collect();
        assert_eq!(names, files.keys().collect::<Vec<_>>());
        let text = run("mtools", "mdir", &["-i", &volume, "::"]);
        assert!(text.contains(&format!("is {label} ")), "{text}");
        assert!(text.contains("2023-11-14  22:13"), "{text}");
        for (name, content) in files {
            let (from, copy) = (format!("::{name}"), path(&directory, &name));
            run("mtools", "mcopy", &["-n", "-i", &volume, &from, &copy]);
            assert!(fs::read(copy).unwrap() == content.read().unwrap(), "{name}");
        }
    }
}

#[test]
fn an_mbr_is_as_sfdisk_expects() {
    let directory = TempDir::new().unwrap();
    let image = path(&directory, "x.img");
    write_disk(PartitionTable::Mbr, &image);
    let text = run("fdisk", "sfdisk", &["--verify", &image]);
    assert!(text.contains("No errors detected"), "{text}");
    let text = run("fdisk", "sfdisk", &["-d", &image]);
    let layout = layout(PartitionTable::Mbr);
    let (signature, _) = layout.slot.partuuid.split_once('-').unwrap();
    assert!(text.contains(&format!("label-id: 0x{signature}")), "{text}");
    for line in [
        "start=        8192, size=      131072, type=c",
        "start=      139264, size=      131072, type=c",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_gpt_is_as_sgdisk_expects() {
    let directory = TempDir::new().unwrap();
    let image = path(&directory, "x.img");
    write_disk(PartitionTable::Gpt, &image);
    let text = run("gdisk", "sgdisk", &["-v", &image]);
    assert!(text.contains("No problems found"), "{text}");
    let text = run("fdisk", "sfdisk", &["-d", &image]);
    let layout = layout(PartitionTable::Gpt);
    for (partition, name) in [(&layout.boot, "rubus"), (&layout.slot, "slot-a")] {
        let uuid = partition.partuuid.to_uppercase();
        let basic_data = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";
        let line = format!("type={basic_data}, uuid={uuid}, name=\"{name}\"");
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn a_disk_is_the_same_every_time_and_free_space_stays_a_hole() {
    use std::os::unix::fs::MetadataExt;
    let directory = TempDir::new().unwrap();
    let (one, two) = (path(&directory, "1"), path(&directory, "2"));
    for table in [PartitionTable::Mbr, PartitionTable::Gpt] {
        write_disk(table, &one);
        write_disk(table, &two);
        assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap());
        let stored = fs::metadata(&one).unwrap().blocks() * 512;
        assert!(stored < 48 * MIB, "{stored}");
    }
}

/// Builds all outputs of an image into a folder.
fn write_outputs(folder: &Path, compression: Compression, threads: usize) -> Vec<Range<u64>> {
    let mut outputs = Outputs::open(folder, "rubus-test").unwrap();
    let image = outputs.image().unwrap();
    let layout = layout(PartitionTable::Gpt);
    let ranges = disk::write(&layout, TIME, &boot_files(), &slot_files(), &image).unwrap();
    let mut done = 0;
    outputs
        .pack(&image, &ranges, compression, threads, &mut |bytes| {
            done = bytes
        })
        .unwrap();
    assert_eq!(done, layout.size);
    outputs.add("manifest.json", b"{}").unwrap();
    outputs.commit().unwrap();
    ranges
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_outputs_agree_with_their_hashes_and_unpack_to_the_image() {
    let directory = TempDir::new().unwrap();
    for (compression, extension, tool) in [
        (Compression::DEFAULT, "zst", "zstd"),
        (Compression::Xz(0), "xz", "xz"),
    ] {
        let folder = directory.path().join(extension);
        write_outputs(&folder, compression, 2);
        let packed = format!("rubus-test.img.{extension}");
        assert_eq!(
            names(&folder),
            [
                "rubus-test.bmap",
                "rubus-test.img",
                &packed,
                "rubus-test.manifest.json",
                "rubus-test.sha256"
            ]
        );
        let folder = folder.to_str().unwrap();
        let script = format!("cd {folder} && sha256sum -c rubus-test.sha256");
        let text = run("coreutils", "sh", &["-c", &script]);
        assert_eq!(text.matches(": OK").count(), 4, "{text}");
        let package = if tool == "xz" { "xz-utils" } else { "zstd" };
        let script = format!("cd {folder} && {tool} -dc {packed} | cmp - rubus-test.img");
        run(package, "sh", &["-c", &script]);
    }
}

#[test]
fn bmaptool_copies_the_same_bytes() {
    let directory = TempDir::new().unwrap();
    let folder = directory.path().join("out");
    let ranges = write_outputs(&folder, Compression::None, 1);
    let (image, map) = (
        folder.join("rubus-test.img"),
        folder.join("rubus-test.bmap"),
    );
    let copy = path(&directory, "copy.img");
    let (image, map) = (image.to_str().unwrap(), map.to_str().unwrap());
    run(
        "bmap-tools",
        "bmaptool",
        &["copy", "--bmap", map, image, &copy],
    );
    run("diffutils", "cmp", &[image, &copy]);

    // Only the blocks of the map are written, so that on a card that held
    // something else all that matters has to be in the map.
    let whole = fs::read(image).unwrap();
    let used: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    assert!(used < whole.len() as u64 / 2);
    let card = directory.path().join("card.img");
    let mut bytes = vec![0xAA; whole.len()];
    for range in ranges {
        let range = range.start as usize..range.end as usize;
        bytes[range.clone()].copy_from_slice(&whole[range]);
    }
    fs::write(&card, &bytes).unwrap();
    run("gdisk", "sgdisk", &["-v", card.to_str().unwrap()]);
    let layout = layout(PartitionTable::Gpt);
    for partition in [layout.boot, layout.slot] {
        let volume = path(&directory, "volume");
        let range = partition.start as usize..(partition.start + partition.size) as usize;
        fs::write(&volume, &bytes[range]).unwrap();
        run("dosfstools", "fsck.vfat", &["-n", &volume]);
    }
}

#[test]
fn the_compressed_image_does_not_depend_on_the_number_of_cores() {
    let directory = TempDir::new().unwrap();
    for (compression, name) in [
        (Compression::DEFAULT, "rubus-test.img.zst"),
        (Compression::Xz(0), "rubus-test.img.xz"),
    ] {
        let pack = |threads: usize| {
            let folder = directory.path().join(threads.to_string());
            write_outputs(&folder, compression, threads);
            fs::read(folder.join(name)).unwrap()
        };
        let one = pack(1);
        assert!(one == pack(2) && one == pack(3));
    }
}

#[test]
fn an_interrupted_run_leaves_no_file_with_a_final_name() {
    let directory = TempDir::new().unwrap();
    let folder = directory.path();
    let mut outputs = Outputs::open(folder, "rubus-test").unwrap();
    outputs.add("manifest.json", b"{}").unwrap();
    assert_eq!(names(folder), [".rubus-test.manifest.json.partial"]);
    // As after a power cut: nothing tidies up.
    std::mem::forget(outputs);
    fs::write(folder.join(".rubus-other.img.partial"), "of another run").unwrap();
    let outputs = Outputs::open(folder, "rubus-test").unwrap();
    assert_eq!(names(folder), [".rubus-other.img.partial"]);
    drop(outputs);

    let mut outputs = Outputs::open(folder, "rubus-test").unwrap();
    outputs.add("bmap", b"half").unwrap();
    drop(outputs);
    assert_eq!(names(folder), [".rubus-other.img.partial"]);
}
