//! Engines and consoles: what an image holds of them, looked at from outside,
//! and what a person sees who asks for the wrong thing.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use rubus_tests::{
    checkout::Checkout,
    disk::{Table, fat_copy},
    tools::{must, must_fail, rubus, ssh_key, target},
};
use serde_json::Value;

/// A build in a checkout, with what was downloaded before.
fn build(checkout: &Checkout, arguments: &[&str]) -> Command {
    let mut command = rubus();
    command
        .args(["build", "--board", "qemu-virt", "--compress", "none"])
        .args(arguments)
        .arg("--ssh-key")
        .arg(ssh_key().with_extension("pub"))
        .current_dir(checkout.path())
        // What device programs are made from is the same.
        .env("CARGO_TARGET_DIR", fs::canonicalize(target()).unwrap());
    command
}

fn image(checkout: &Checkout) -> PathBuf {
    checkout.path().join("out/rubus-qemu-virt.img")
}

/// Unpacks the bundles of an image; returns the folder that they are in.
fn bundles(image: &Path, to: &Path) -> PathBuf {
    fs::create_dir(to).unwrap();
    let (slot, squashfs) = (to.join("slot"), to.join("system.squashfs"));
    Table::of(image).extract(2, &slot);
    fat_copy(&slot, "system.squashfs", &squashfs);
    let root = to.join("root");
    must(
        Command::new("unsquashfs")
            .args(["-quiet", "-no-progress", "-no-xattrs", "-dest"])
            .args([&root, &squashfs])
            .arg("usr/lib/rubus/services"),
    );
    root.join("usr/lib/rubus/services")
}

fn json(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The versions of a package that the host's dpkg finds in a root.
fn dpkg(root: &Path, arguments: &[&str]) -> String {
    let mut option = std::ffi::OsString::from("--root=");
    option.push(root);
    must(Command::new("dpkg").arg(option).args(arguments))
}

#[test]
fn an_image_holds_what_is_asked_for_and_starts_with_the_first() {
    let checkout = Checkout::new("022");
    let engines = ["docker-28", "docker-20", "docker-26.1.5"];
    let mut arguments = vec!["--locked", "--console", "default", "--console", "debian"];
    for engine in engines {
        arguments.extend(["--engine", engine]);
    }
    must(&mut build(&checkout, &arguments));
    let services = bundles(&image(&checkout), &checkout.path().join("unpacked"));

    // Where each lies, what it is called, and of which version it is.
    let bundle = set(&["config.json", "rootfs", "service.json"]);
    let mut first = bundle.clone();
    first.insert("variants".to_owned());
    let docker = services.join("docker");
    assert_eq!(names(&docker), first);
    let further = docker.join("variants");
    assert_eq!(names(&further), set(&["docker-20.10.24", "docker-26.1.5"]));
    for (folder, variant, version, dockerd) in [
        (docker.clone(), "docker-28", "28.", "28"),
        (
            further.join("docker-20.10.24"),
            "docker-20.10.24",
            "20.10.24+",
            "20",
        ),
        (
            further.join("docker-26.1.5"),
            "docker-26.1.5",
            "26.1.5+",
            "26",
        ),
    ] {
        let service = json(&folder.join("service.json"));
        assert_eq!(service["name"], "docker");
        assert_eq!(service["variant"], variant);
        let found = service["version"].as_str().unwrap();
        assert!(found.starts_with(version), "{variant}: {found}");
        assert_eq!(json(&folder.join("config.json"))["root"]["path"], "rootfs");
        // The engine says in its own words which it is.
        let program = fs::read(folder.join("rootfs/usr/sbin/dockerd")).unwrap();
        let own = found.split("-").next().unwrap().as_bytes();
        assert!(
            program.windows(own.len()).any(|window| window == own),
            "{dockerd}: no {found} in it"
        );
        assert!(folder.join("rootfs/usr/bin/engine").is_file());
        assert!(!folder.join("rootfs/usr/bin/docker").exists());
    }
    for name in ["docker-20.10.24", "docker-26.1.5"] {
        assert_eq!(names(&further.join(name)), bundle);
    }
    let console = services.join("console");
    assert_eq!(json(&console.join("service.json"))["variant"], "default");
    let debian = console.join("variants/debian");
    assert_eq!(names(&debian), bundle);
    assert_eq!(json(&debian.join("service.json"))["root"], "kept");
    assert_eq!(
        json(&debian.join("config.json"))["root"]["path"],
        "/run/rubus/roots/console"
    );
    assert_eq!(names(&services.join("ntp")), bundle);

    what_dpkg_says(&debian.join("rootfs"));
    assert!(!console.join("rootfs/var/lib/dpkg").exists());

    what_the_image_says_of_itself(&checkout);

    // Another engine changes: what does not follow from it stays.
    let file = "services/docker/variants/docker-20.10.24/etc/docker/daemon.json";
    checkout.edit(file, "\"local\"", "\"json-file\"");
    must(&mut build(&checkout, &arguments));
    let after = bundles(&image(&checkout), &checkout.path().join("after"));
    let output = Command::new("diff")
        .args(["--recursive", "--brief", "--no-dereference"])
        .args([&services, &after])
        .output()
        .unwrap();
    let changes = String::from_utf8(output.stdout).unwrap();
    let changed: Vec<&str> = changes.lines().collect();
    assert_eq!(changed.len(), 1, "{changes}");
    assert!(
        changed[0].contains("docker/variants/docker-20.10.24/rootfs/etc/docker/daemon.json"),
        "{changes}"
    );
    // And nothing changes when nothing did.
    let said = build(&checkout, &arguments).output().unwrap().stderr;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("is up to date"), "{said}");
}

/// The host's dpkg and apt find a sound system of Debian.
fn what_dpkg_says(root: &Path) {
    // All that it finds is that the host's processor is another.
    let audit = dpkg(root, &["--audit"]);
    let complaints = audit.lines().filter(|line| !line.starts_with([' ', '\t']));
    let complaints: Vec<&str> = complaints.filter(|line| !line.is_empty()).collect();
    assert!(
        complaints.is_empty() || complaints[0].contains("unknown foreign architecture"),
        "{audit}"
    );
    assert!(complaints.len() <= 3, "{audit}");

    let query = |format: &str| {
        let mut option = std::ffi::OsString::from("--admindir=");
        option.push(root.join("var/lib/dpkg"));
        must(
            Command::new("dpkg-query")
                .arg(option)
                .args(["-W", "-f", format]),
        )
    };
    let packages = query("${Package} ${db:Status-Status} ${Essential}\n");
    assert!(packages.lines().count() > 100, "{packages}");
    for line in packages.lines() {
        assert_eq!(line.split(' ').nth(1), Some("installed"), "{line}");
    }
    for package in [
        "apt",
        "base-files",
        "dpkg",
        "libc6",
        "openssh-server",
        "perl-base",
    ] {
        assert!(
            packages
                .lines()
                .any(|line| line.starts_with(&format!("{package} "))),
            "{package}"
        );
    }
    let listed = dpkg(root, &["-L", "dpkg"]);
    for path in ["/.", "/usr/bin/dpkg", "/etc/cron.daily/dpkg"] {
        assert!(listed.lines().any(|line| line == path), "{path}: {listed}");
    }
    for path in listed.lines() {
        let inside = root.join(path.trim_start_matches('/'));
        assert!(
            fs::symlink_metadata(&inside).is_ok(),
            "{path} is listed and not there"
        );
    }
    // What differs from the packages is configuration of ours.
    let verified = Command::new("dpkg")
        .arg(format!("--root={}", root.display()))
        .arg("--verify")
        .output()
        .unwrap();
    for line in String::from_utf8(verified.stdout).unwrap().lines() {
        assert!(line.contains(" c /etc/"), "{line}");
    }
    // Every dependency is met.
    let option = |key: &str, value: &Path| format!("{key}={}", value.display());
    must(
        Command::new("apt-get")
            .args(["-o", &option("Dir", root)])
            .args([
                "-o",
                &option("Dir::State::status", &root.join("var/lib/dpkg/status")),
            ])
            .args(["-o", "APT::Architecture=arm64"])
            .args(["-o", "Dir::Etc::sourcelist=/dev/null"])
            .args(["-o", "Dir::Etc::sourceparts=/dev/null"])
            .arg("check"),
    );
    // They leave their locks.
    for lock in ["lock", "lock-frontend"] {
        let _ = fs::remove_file(root.join("var/lib/dpkg").join(lock));
    }
    // Links that alternatives lead through end at programs.
    for name in ["awk", "editor", "nawk", "pager", "which"] {
        let link = fs::read_link(root.join("etc/alternatives").join(name)).unwrap();
        let target = root.join(link.strip_prefix("/").unwrap());
        assert!(target.exists(), "{name}: {}", link.display());
    }
    // What base-files brings as folders are links, as everywhere.
    for (path, target) in [("var/run", "/run"), ("var/lock", "/run/lock")] {
        assert_eq!(fs::read_link(root.join(path)).unwrap(), Path::new(target));
    }
    let passwd = fs::read_to_string(root.join("etc/passwd")).unwrap();
    for user in ["_apt:x:42:", "man:x:6:12:", "rubus:x:1000:", "sshd:x:991:"] {
        assert!(
            passwd.lines().any(|line| line.starts_with(user)),
            "{user}: {passwd}"
        );
    }
    let sources = fs::read_to_string(root.join("etc/apt/sources.list.d/debian.sources")).unwrap();
    let ring = sources
        .lines()
        .find_map(|line| line.strip_prefix("Signed-By: /"));
    assert!(root.join(ring.unwrap()).exists(), "{sources}");
}

fn what_the_image_says_of_itself(checkout: &Checkout) {
    let image = image(checkout);
    let inspect = |option: &[&str]| must(rubus().arg("inspect").args(option).arg(&image));
    let report: Value = serde_json::from_str(&inspect(&["--json"])).unwrap();
    let docker = &report["slots"][0]["manifest"]["services"]["docker"];
    assert_eq!(docker["variant"], "docker-28");
    let older = &docker["variants"]["docker-20.10.24"];
    assert_eq!(older["version"], older["packages"]["docker.io"]);
    assert_ne!(older["packages"]["runc"], docker["packages"]["runc"]);
    let said = inspect(&[]);
    assert!(
        said.contains("docker   docker-20.10.24  20.10.24"),
        "{said}"
    );

    let bill = json(&image.with_extension("spdx.json"));
    let engines: BTreeSet<&str> = bill["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| package["name"] == "docker.io")
        .map(|package| package["versionInfo"].as_str().unwrap())
        .collect();
    assert_eq!(engines.len(), 3, "{engines:?}");
    let held = bill["relationships"]
        .as_array()
        .unwrap()
        .iter()
        .any(|relation| {
            relation["spdxElementId"]
                .as_str()
                .unwrap()
                .contains("docker-20.10.24")
                && relation["relatedSpdxElement"]
                    .as_str()
                    .unwrap()
                    .contains("docker.io-20.10.24")
        });
    assert!(held, "the bill does not say which variant holds what");
}

#[test]
fn an_engine_of_the_users_own_is_a_folder() {
    let checkout = Checkout::new("022");
    let elsewhere = tempfile::tempdir().unwrap();
    let own = elsewhere.path().join("my-engine");
    let programs = own.join("files/usr/bin");
    fs::create_dir_all(&programs).unwrap();
    fs::write(
        own.join("variant.toml"),
        "version = \"99.1\"\npackages = [\"iptables\", \"ca-certificates\"]\n\
         [add.links]\n\"/usr/sbin/dockerd\" = \"../bin/dockerd\"\n",
    )
    .unwrap();
    // As large as engines are.
    let program = programs.join("dockerd");
    fs::write(&program, vec![b'x'; 70 << 20]).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let committed = fs::read(checkout.path().join("rubus.lock")).unwrap();
    let path = own.to_str().unwrap();
    must(&mut build(
        &checkout,
        &["--engine", "docker-26", "--engine", path],
    ));

    let services = bundles(&image(&checkout), &checkout.path().join("unpacked"));
    let bundle = services.join("docker/variants/my-engine");
    let service = json(&bundle.join("service.json"));
    assert_eq!(service["version"], "99.1");
    assert_eq!(
        service["health"],
        json(&services.join("docker/service.json"))["health"]
    );
    let dockerd = fs::metadata(bundle.join("rootfs/usr/sbin/dockerd")).unwrap();
    assert_eq!(dockerd.len(), 70 << 20);
    // The service's own files are there too; its packages are not.
    assert!(bundle.join("rootfs/etc/docker/daemon.json").exists());
    assert!(bundle.join("rootfs/usr/sbin/iptables").exists());
    assert!(!bundle.join("rootfs/usr/bin/containerd").exists());

    // The bill of materials knows the program, though no package brings it.
    let bill = json(&image(&checkout).with_extension("spdx.json"));
    let packages = bill["packages"].as_array().unwrap();
    let found = packages.iter().find(|it| it["name"] == "usr/bin/dockerd");
    let found = found.expect("the bill of materials has the program");
    assert_eq!(found["versionInfo"], "99.1");
    let sha256 = found["checksums"][0]["checksumValue"].as_str().unwrap();
    assert_eq!(sha256.len(), 64);

    // Its packages are locked beside it, and the project's lock is as it was.
    assert!(own.join("rubus.lock").exists());
    assert_eq!(
        fs::read(checkout.path().join("rubus.lock")).unwrap(),
        committed
    );
    must(&mut build(&checkout, &["--locked", "--engine", path]));

    // A file names it by a path from where that is, beside one of ours.
    let config = elsewhere.path().join("node.toml");
    fs::write(&config, "engines = [\"docker-26\", \"./my-engine\"]\n").unwrap();
    let named = ["--config", config.to_str().unwrap()];
    let said = must_fail(build(&checkout, &named).arg("--locked"), 1);
    assert!(said.contains("there is no"), "{said}");
    must(&mut build(&checkout, &named));
    assert!(elsewhere.path().join("rubus.lock").exists());
    must(build(&checkout, &named).arg("--locked"));
}

#[test]
fn mistakes_are_told_with_the_way_out() {
    let checkout = Checkout::new("022");
    let variant = "services/docker/variants/docker-28.toml";
    let refused = |arguments: &[&str], words: &[&str]| {
        let said = must_fail(build(&checkout, &["--locked"]).args(arguments), 1);
        for word in words {
            assert!(said.contains(word), "no {word:?} in: {said}");
        }
    };
    refused(
        &["--engine", "dokcer-28"],
        &[
            "no engine \"dokcer-28\"",
            "did you mean `docker-28`?",
            "`rubus engines`",
        ],
    );
    refused(
        &["--engine", "docker-2"],
        &["docker-20.10.24", "docker-26.1.5", "write more of the name"],
    );
    refused(
        &["--engine", "docker-28", "--engine", "docker-28"],
        &["docker-28 is asked for twice"],
    );
    refused(
        &["--console", "debain"],
        &["no console", "did you mean `debian`?"],
    );
    refused(
        &["--engine", "./nothing"],
        &["nothing/variant.toml", "service docker"],
    );

    let without = checkout.path().join("without.toml");
    fs::write(&without, "[services]\ndocker = false\n").unwrap();
    refused(
        &["--config", "without.toml", "--engine", "docker-28"],
        &["docker is left out", "docker-28"],
    );

    // A key that does not exist, in a variant.
    let text = fs::read_to_string(checkout.path().join(variant)).unwrap();
    let write = |text: &str| fs::write(checkout.path().join(variant), text).unwrap();
    write(&format!("siute = \"sid\"\n{text}"));
    refused(
        &[],
        &[&format!("{variant}:1: `siute`"), "did you mean `suite`?"],
    );

    // A service that waits for one that waits for it.
    write(&format!("after = [\"mdns\"]\n{text}"));
    let kind = "kind = \"daemon\"\n";
    let waiting = format!("{kind}after = [\"docker\"]\n");
    checkout.edit("services/mdns/service.toml", kind, &waiting);
    refused(
        &["--engine", "docker-26", "--engine", "docker-28"],
        &["wait for each other", "docker", "mdns"],
    );
    write(&text);

    // A name that says another version.
    let renamed = checkout
        .path()
        .join("services/docker/variants/docker-27.toml");
    fs::write(&renamed, &text).unwrap();
    let lock = checkout.path().join("rubus.lock");
    let locked = fs::read_to_string(&lock).unwrap();
    let locked = locked.replace("service/docker/docker-28", "service/docker/docker-27");
    fs::write(&lock, locked).unwrap();
    checkout.edit("services/mdns/service.toml", &waiting, kind);
    refused(
        &["--engine", "docker-27"],
        &["docker-27 would hold docker.io 28.", "rename it"],
    );

    // What is not locked is told by the listing.
    fs::remove_file(&renamed).unwrap();
    let list = must(rubus().arg("engines").current_dir(checkout.path()));
    let line = |name: &str| list.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line("docker-28").contains("not locked"), "{list}");
    assert!(line("docker-26.1.5").contains("yes"), "{list}");

    // Two that have one name.
    let own = checkout.path().join("elsewhere/docker-28");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("variant.toml"), "").unwrap();
    refused(
        &["--engine", "./elsewhere/docker-28"],
        &["are both the variant docker-28", "rename one"],
    );
}

#[test]
fn listings_are_for_people_and_programs() {
    for (command, default, further) in [
        ("engines", "docker-26.1.5", "docker-28"),
        ("consoles", "default", "debian"),
    ] {
        let list: Vec<Value> =
            serde_json::from_str(&must(rubus().args([command, "--json"]))).unwrap();
        assert_eq!(list[0]["name"], default);
        assert_eq!(list[0]["default"], true);
        let other = list.iter().find(|row| row["name"] == further).unwrap();
        assert_eq!(other["default"], false);
        assert_eq!(other["locked"], true);
        assert!(other["version"].is_string(), "{other}");
        let text = must(rubus().arg(command));
        let rows: Vec<&str> = text.lines().collect();
        assert!(rows[0].starts_with("NAME "), "{text}");
        assert_eq!(rows.len(), list.len() + 1);
    }
}
