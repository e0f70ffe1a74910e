//! What a person sees who mistypes, stops a build, or has no room left: one
//! sentence, an exit status, and nothing half-written.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use rubus_tests::{
    checkout::Checkout,
    image::image,
    tools::{as_root, must, must_fail, project, rubus, run},
};

/// What `rubus build` says to definitions of which a file has other text.
fn refuses(edits: &[(&str, &str, &str)]) -> String {
    refuses_with(&[], edits)
}

fn refuses_with(options: &[&str], edits: &[(&str, &str, &str)]) -> String {
    let checkout = Checkout::new("022");
    for (file, from, to) in edits {
        checkout.edit(file, from, to);
    }
    refuses_in(&checkout, options)
}

fn refuses_in(checkout: &Checkout, options: &[&str]) -> String {
    let mut build = build(&checkout.path().join("out"));
    must_fail(build.args(options).current_dir(checkout.path()), 1)
}

fn build(out: &Path) -> Command {
    let mut command = rubus();
    command
        .args(["build", "--board", "qemu-virt", "--out"])
        .arg(out);
    command
}

/// What `rubus build` says to a `rubus.toml`.
fn refused(config: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rubus.toml");
    fs::write(&path, config).unwrap();
    must_fail(build(folder.path()).arg("--config").arg(&path), 1)
}

fn says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
}

/// The names in a folder that a person takes for an image or a part of one.
fn final_names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("rubus-"))
        .collect()
}

#[test]
fn a_board_that_does_not_exist_is_named_with_the_one_that_was_meant() {
    let said = must_fail(rubus().args(["build", "--board", "rpi44"]), 1);
    says(&said, &["rpi44", "did you mean `rpi4`?", "qemu-virt"]);
    let said = must_fail(rubus().args(["build", "--board", "../../etc/passwd"]), 1);
    says(&said, &["there is no board"]);
    let said = must_fail(rubus().args(["run", "--board", "rpi44"]), 1);
    says(&said, &["rpi44"]);
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    for (arguments, words) in [
        (&["biuld"][..], &["build"][..]),
        (&["build"], &["--board"]),
        (&["build", "--board", "rpi4", "--compress", "zip"], &["zst"]),
        (&["run", "--forward", "80"], &["HOST:GUEST"]),
        (&["run", "--memory", "lots"], &["lots"]),
        (&["run", "--machine", "raspi9"], &["raspi4b"]),
        (&["inspect"], &["IMAGE"]),
    ] {
        says(&must_fail(rubus().args(arguments), 2), words);
    }
}

#[test]
fn a_configuration_that_is_not_understood_is_refused_with_its_place() {
    says(
        &refused("hostname = \"a\"\nhostnmae = \"b\"\n"),
        &["rubus.toml:2: ", "hostnmae", "did you mean `hostname`?"],
    );
    says(
        &refused("[services]\ndoker = false\n"),
        &["doker", "did you mean `docker`?"],
    );
    says(&refused("hostname = \"not a name\"\n"), &["host name"]);
    says(
        &refused("slot_size = \"large\"\n"),
        &["rubus.toml:1: ", "large"],
    );
    says(
        &refused("[services]\nmdns = \"no\"\n"),
        &["rubus.toml:2: `services.mdns`: ", "boolean"],
    );
    says(&refused("ssh_keys = [\"absent.pub\"]\n"), &["absent.pub"]);
    says(&refused("[services\n"), &["rubus.toml:1: "]);
    let said = must_fail(
        build(Path::new("out")).args(["--config", "/absent/rubus.toml"]),
        1,
    );
    says(&said, &["/absent/rubus.toml"]);
}

#[test]
fn a_slot_that_is_too_small_for_its_files_is_refused() {
    says(&refused("slot_size = \"64M\"\n"), &["slot"]);
}

#[test]
fn packages_of_the_users_own_are_locked_beside_the_users_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("node.toml");
    fs::write(&config, "[service.console]\npackages = [\"htop\"]\n").unwrap();
    let out = folder.path().join("out");
    let with_config = |more: &[&str]| {
        let mut command = build(&out);
        command.arg("--config").arg(&config).args(more);
        command
    };
    let lock = folder.path().join("rubus.lock");
    // Whoever wants what is locked and nothing else is told the way out.
    for locked in ["--locked", "--offline"] {
        let said = must_fail(&mut with_config(&[locked]), 1);
        says(&said, &["rubus.lock", "`rubus lock --config "]);
        assert!(!lock.exists());
    }
    let committed = fs::read_to_string(project().join("rubus.lock")).unwrap();
    let said = run(&mut with_config(&[]));
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    says(&said, &["htop", " added", &lock.display().to_string()]);
    // It holds what the project's holds, in the same versions, which stays as
    // it is.
    let own = fs::read_to_string(&lock).unwrap();
    assert!(own.contains("name = \"htop\""), "{own}");
    for line in committed.lines() {
        assert!(own.contains(line), "{line:?} is missing");
    }
    assert_eq!(
        fs::read_to_string(project().join("rubus.lock")).unwrap(),
        committed
    );
    must(&mut with_config(&["--locked", "--offline"]));
    assert_eq!(fs::read_to_string(&lock).unwrap(), own);

    fs::write(&config, "[service.console]\npackages = [\"hotp\"]\n").unwrap();
    says(
        &must_fail(&mut with_config(&[]), 1),
        &["\"hotp\"", "services/console/service.toml"],
    );
    assert_eq!(fs::read_to_string(&lock).unwrap(), own);
}

#[test]
fn definitions_that_are_wrong_are_refused_with_file_line_and_key() {
    let mdns = "services/mdns/service.toml";
    says(
        &refuses(&[(mdns, "restart =", "restrat =")]),
        &[mdns, "restrat", "restart"],
    );
    let board = "boards/qemu-virt.toml";
    says(
        &refuses(&[(board, "suite = \"trixie\"", "suite = \"trixy\"")]),
        &[board, "trixy", "did you mean \"trixie\"?"],
    );
    says(
        &refuses(&[(board, "partition_table =", "partitions =")]),
        &["qemu-virt.toml:", "partitions"],
    );
}

#[test]
fn services_that_wait_for_each_other_are_refused() {
    let mdns = "services/mdns/service.toml";
    let ntp = "services/ntp/service.toml";
    let always = "restart = \"always\"";
    let after_ntp = "after = [\"ntp\"]\nrestart = \"always\"";
    let after_mdns = "after = [\"mdns\"]\nrestart = \"always\"";
    says(
        &refuses(&[(mdns, always, after_ntp), (ntp, always, after_mdns)]),
        &["services wait for each other", "mdns", "ntp"],
    );
    let after_nobody = "after = [\"netwrok\"]\nrestart = \"always\"";
    says(
        &refuses(&[(mdns, always, after_nobody)]),
        &["netwrok", "network"],
    );
}

#[test]
fn a_lock_that_cannot_be_used_is_refused() {
    let ntp = "services/ntp/service.toml";
    let (chrony, htop) = (
        "packages = [\"chrony\",",
        "packages = [\"chrony\", \"htop\",",
    );
    says(
        &refuses_with(&["--locked"], &[(ntp, chrony, htop)]),
        &[ntp, "htop", "`rubus lock`"],
    );
    says(
        &refuses(&[("rubus.lock", "version = 1", "version = 99")]),
        &["rubus.lock", "99"],
    );
    says(
        &refuses(&[("rubus.lock", "[[package]]", "[[package")]),
        &["rubus.lock"],
    );
    let checkout = Checkout::new("022");
    fs::remove_file(checkout.path().join("rubus.lock")).unwrap();
    says(
        &refuses_in(&checkout, &["--locked"]),
        &["rubus.lock", "`rubus lock`"],
    );
}

#[test]
fn without_a_network_only_the_cache_counts() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let said = must_fail(
        build(&out)
            .arg("--offline")
            .env("XDG_CACHE_HOME", folder.path().join("cache")),
        1,
    );
    says(&said, &["is not in the cache", "--offline"]);
    assert!(!out.exists());
    image("qemu-virt");
    must(build(&out).arg("--offline"));
}

#[test]
fn a_full_disk_leaves_nothing_that_looks_done() {
    let folder = tempfile::tempdir().unwrap();
    image("qemu-virt");
    must(
        as_root("mount")
            .args(["-t", "tmpfs", "-o", "size=100m,mode=1777", "rubus-test"])
            .arg(folder.path()),
    );
    let output = run(&mut build(folder.path()));
    let names = final_names(folder.path());
    must(as_root("umount").arg(folder.path()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    says(
        &said,
        &[
            "No space left on device",
            &folder.path().display().to_string(),
        ],
    );
    assert!(!said.contains("panicked"), "{said}");
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn a_build_that_is_stopped_leaves_nothing_that_looks_done_and_the_next_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    image("qemu-virt");
    let start = Instant::now();
    must(&mut build(folder.path()));
    let whole = start.elapsed();
    let complete = final_names(folder.path());
    for signal in ["INT", "TERM", "KILL"] {
        let mut stopped = 0;
        for part in 1..4 {
            for name in fs::read_dir(folder.path()).unwrap() {
                let path = name.unwrap().path();
                fs::remove_file(path).unwrap();
            }
            let mut child = build(folder.path()).stderr(Stdio::null()).spawn().unwrap();
            thread::sleep(whole * part / 6);
            must(
                Command::new("kill")
                    .args(["-s", signal])
                    .arg(child.id().to_string()),
            );
            // The first build had more to do, so one of these may be done.
            if child.wait().unwrap().success() {
                continue;
            }
            stopped += 1;
            let names = final_names(folder.path());
            assert!(names.is_empty(), "{names:?} after SIG{signal}");
        }
        assert!(stopped > 0, "no build was slow enough for SIG{signal}");
    }
    // Neither is anything left of it afterwards.
    must(&mut build(folder.path()));
    let mut left: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".partial"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    left = final_names(folder.path());
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(left), sorted(complete));
    must(
        Command::new("sha256sum")
            .args(["-c", "--quiet", "rubus-qemu-virt.sha256"])
            .current_dir(folder.path()),
    );
}
