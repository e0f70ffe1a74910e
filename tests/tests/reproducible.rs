//! The same sources give the same bytes, and what did not change is not made
//! again.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use rubus_tests::{
    checkout::Checkout,
    disk::{Table, fat_copy},
    image::image,
    tools::{must, rubus, run, ssh_key, target},
};

const OUTPUTS: [&str; 6] = [
    "img",
    "img.zst",
    "bmap",
    "sha256",
    "spdx.json",
    "manifest.json",
];

fn output(folder: &Path, ending: &str) -> PathBuf {
    folder.join(format!("rubus-qemu-virt.{ending}"))
}

fn times(folder: &Path) -> Vec<SystemTime> {
    OUTPUTS
        .iter()
        .map(|ending| {
            fs::metadata(output(folder, ending))
                .unwrap()
                .modified()
                .unwrap()
        })
        .collect()
}

/// The arguments of a build into a folder.
fn build(out: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["build", "--board", "qemu-virt", "--offline", "--out"]
        .map(Into::into)
        .to_vec();
    arguments.push(out.into());
    arguments.push("--ssh-key".into());
    arguments.push(ssh_key().with_extension("pub").into());
    arguments
}

fn home(variable: &str, below: &str) -> PathBuf {
    match env::var_os(variable) {
        Some(folder) => folder.into(),
        None => PathBuf::from(env::var_os("HOME").unwrap()).join(below),
    }
}

/// A folder with a link to a part of another, so that the rest is made anew.
fn with_shared(folder: PathBuf, part: &str, of: &Path) -> PathBuf {
    fs::create_dir_all(&folder).unwrap();
    symlink(of.join(part), folder.join(part)).unwrap();
    folder
}

#[test]
fn a_build_by_others_elsewhere_is_identical_to_the_bit() {
    let here = image("qemu-virt");
    let elsewhere = Checkout::new("077");
    // Only downloads are shared, those of cargo and those of Debian.
    let others = elsewhere.path().join("home of others");
    let cargo = with_shared(
        others.join("cargo"),
        "registry",
        &home("CARGO_HOME", ".cargo"),
    );
    let cache = home("XDG_CACHE_HOME", ".cache").join("rubus");
    with_shared(others.join("cache/rubus"), "sha256", &cache);

    let out = elsewhere.path().join("a/place/of/its/own");
    // Programs are compiled by all processors, everything else is made by one.
    for (out, processors) in [(&elsewhere.path().join("compiled"), "0-999"), (&out, "0")] {
        let command = rubus();
        must(
            Command::new("sh")
                .args([
                    "-c",
                    "umask 077; exec taskset --cpu-list $PROCESSORS \"$0\" \"$@\"",
                ])
                .arg(command.get_program())
                .args(build(out))
                .current_dir(elsewhere.path().join("services"))
                .env("PROCESSORS", processors)
                .env("CARGO_TARGET_DIR", elsewhere.path().join("made"))
                .env("CARGO_HOME", &cargo)
                .env("RUSTUP_HOME", home("RUSTUP_HOME", ".rustup"))
                .env("HOME", &others)
                .env("XDG_CACHE_HOME", others.join("cache"))
                .env("TZ", "Pacific/Kiritimati")
                .env("LC_ALL", "tr_TR.UTF-8")
                .env("USER", "others")
                .env("SOURCE_DATE_EPOCH", "1"),
        );
    }
    for ending in OUTPUTS {
        let pair = [output(here.parent().unwrap(), ending), output(&out, ending)];
        let same = run(Command::new("cmp").args(&pair));
        assert!(
            same.status.success(),
            "{ending} differs: {}{}",
            String::from_utf8_lossy(&same.stdout),
            String::from_utf8_lossy(&same.stderr)
        );
    }
}

#[test]
fn what_did_not_change_is_not_made_again() {
    let checkout = Checkout::new("022");
    let out = checkout.path().join("out");
    let again = || {
        let output = run(rubus()
            .args(build(&out))
            .current_dir(checkout.path())
            // What device programs are made from is the same.
            .env("CARGO_TARGET_DIR", fs::canonicalize(target()).unwrap()));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said
    };
    image("qemu-virt");
    again();
    let first = times(&out);
    let before = unpack(&out, &checkout.path().join("before"));

    // Nothing changed: nothing is written.
    assert!(again().contains("is up to date"));
    assert_eq!(times(&out), first);

    // An output that is gone, or was written to, is made again.
    fs::remove_file(output(&out, "bmap")).unwrap();
    again();
    assert!(output(&out, "bmap").exists());
    fs::write(output(&out, "img"), "overwritten").unwrap();
    again();
    let damaged = fs::metadata(output(&out, "img")).unwrap();
    assert!(damaged.len() > 1 << 20);

    // A file of one service changed: only its bundle does, and what names the
    // content as a whole.
    let programs = target().join("aarch64-unknown-linux-musl/device");
    let program = || {
        fs::metadata(programs.join("init"))
            .unwrap()
            .modified()
            .unwrap()
    };
    let compiled = program();
    let file = "services/ntp/files/etc/chrony/chrony.conf";
    let text = fs::read_to_string(checkout.path().join(file)).unwrap();
    fs::write(checkout.path().join(file), format!("{text}# changed\n")).unwrap();
    again();
    assert_eq!(
        program(),
        compiled,
        "device programs do not follow from service files"
    );
    let after = unpack(&out, &checkout.path().join("after"));
    let changes = run(Command::new("diff")
        .args(["--recursive", "--brief", "--no-dereference"])
        .args([&before, &after]));
    let changes = String::from_utf8(changes.stdout).unwrap();
    let mut changed: Vec<&str> = changes
        .lines()
        .map(|line| line.split(' ').nth(1).unwrap())
        .map(|path| path.strip_prefix(before.to_str().unwrap()).unwrap_or(path))
        .collect();
    changed.sort_unstable();
    assert_eq!(
        changed,
        [
            "/usr/lib/os-release",
            "/usr/lib/rubus/services/ntp/rootfs/etc/chrony/chrony.conf",
            "/usr/share/rubus/image.json",
        ],
        "{changes}"
    );
}

/// Unpacks the system root of an image.
fn unpack(out: &Path, to: &Path) -> PathBuf {
    fs::create_dir(to).unwrap();
    let (slot, squashfs) = (to.join("slot"), to.join("system.squashfs"));
    Table::of(&output(out, "img")).extract(2, &slot);
    fat_copy(&slot, "system.squashfs", &squashfs);
    let root = to.join("root");
    must(
        Command::new("unsquashfs")
            .args(["-quiet", "-no-progress", "-no-xattrs", "-dest"])
            .args([&root, &squashfs]),
    );
    root
}
