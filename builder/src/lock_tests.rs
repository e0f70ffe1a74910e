use super::*;

fn package(name: &str, version: &str) -> LockedPackage {
    LockedPackage {
        name: name.into(),
        version: Version::new(version),
        architecture: "arm64".into(),
        suite: "trixie".into(),
        archive: Archive::Debian,
        path: format!("pool/main/{name}.deb"),
        size: 5,
        sha256: Digest::of(name.as_bytes()),
        added: None,
    }
}

fn names(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn request(packages: &str, exclude: &str, suite: Option<&str>) -> Request {
    Request {
        packages: names(packages),
        exclude: names(exclude),
        suite: suite.map(str::to_owned),
        origin: "services/console/service.toml".into(),
    }
}

fn lock() -> Lock {
    Lock {
        version: FORMAT,
        timestamp: 1_795_140_670,
        releases: vec![LockedRelease {
            suite: "trixie".into(),
            date: 1_795_140_670,
            sha256: Digest::of(b"release"),
        }],
        images: vec![LockedImage {
            reference: "registry.example/x@sha256:1".into(),
            sha256: Digest::of(b"index"),
            platforms: [("linux/arm64".into(), Digest::of(b"manifest"))].into(),
        }],
        sets: BTreeMap::from([(
            "service/console".into(),
            LockedSet {
                packages: names("bash sshd"),
                exclude: names("perl"),
                suite: None,
                closure: names("bash=5 libc6=2.41 sshd=10"),
            },
        )]),
        packages: vec![
            package("bash", "5"),
            package("libc6", "2.40"),
            package("libc6", "2.41"),
            package("sshd", "10"),
        ],
    }
}

#[test]
fn a_lock_is_read_as_it_is_written_and_written_the_same_again() {
    let text = lock().to_text().unwrap();
    let read = Lock::parse(&text).unwrap();
    assert_eq!(read, lock());
    assert_eq!(read.to_text().unwrap(), text);
}

#[test]
fn a_set_gives_the_packages_of_its_closure() {
    let lock = lock();
    let packages = lock
        .set("service/console", &request("sshd bash", "perl", None))
        .unwrap();
    let ids: Vec<String> = packages.iter().map(|package| package.id()).collect();
    assert_eq!(ids, ["bash=5", "libc6=2.41", "sshd=10"]);
}

#[test]
fn a_lock_that_does_not_fit_says_where_and_why() {
    let table = [
        (
            request("bash sshd vim", "perl", None),
            "it asks for package vim",
        ),
        (
            request("bash", "perl", None),
            "it no longer asks for package sshd",
        ),
        (
            request("bash sshd", "perl awk", None),
            "it excludes package awk",
        ),
        (
            request("bash sshd", "", None),
            "it no longer excludes package perl",
        ),
        (
            request("bash sshd", "perl", Some("sid")),
            "it asks for packages from sid",
        ),
    ];
    for (request, difference) in table {
        assert_eq!(
            lock()
                .set("service/console", &request)
                .unwrap_err()
                .to_string(),
            format!(
                "rubus.lock does not fit services/console/service.toml: {difference}; \
                 run `rubus lock`"
            )
        );
    }
    let error = lock()
        .set("service/ntp", &request("x", "", None))
        .unwrap_err();
    assert_eq!(error.difference, "there is no set \"service/ntp\" in it");
    assert!(lock().image("other", "services/x").is_err());
    assert!(
        lock()
            .image("registry.example/x@sha256:1", "services/x")
            .is_ok()
    );
}

#[test]
fn a_hostile_lock_is_refused() {
    let good = lock().to_text().unwrap();
    for (from, to) in [
        ("pool/main/bash.deb", "pool/../../bash.deb"),
        ("pool/main/bash.deb", "/etc/passwd"),
        ("pool/main/bash.deb", "http://evil.example/pool/bash.deb"),
        ("pool/main/bash.deb", "pool//evil.example/bash.deb"),
        ("pool/main/bash.deb", "pool/main/bash.deb?x"),
        ("name = \"bash\"", "name = \"../bash\""),
        ("version = \"5\"", "version = \"5/../..\""),
        ("version = 1\n", "version = 2\n"),
        ("size = 5", "size = 9223372036854775807"),
        ("size = 5", "size = -1"),
        ("architecture = \"arm64\"", "architecture = \"amd64\""),
        ("archive = \"debian\"", "archive = \"evil\""),
        ("archive = \"debian\"", "archive = \"debian-security\""),
        ("suite = \"trixie\"\narchive", "suite = \"evil\"\narchive"),
        ("version = \"2.40\"", "version = \"2.41\""),
        ("\"bash=5\"", "\"bash=6\""),
        ("sha256 = \"", "sha256 = \"0"),
        ("timestamp", "host = \"evil.example\"\ntimestamp"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from:?} is not in the lock");
        assert!(Lock::parse(&bad).is_err(), "{to}");
    }
}

#[test]
fn a_lock_is_saved_whole_and_a_missing_one_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    assert_eq!(Lock::find(&path).unwrap(), None);
    lock().save(&path).unwrap();
    assert_eq!(Lock::find(&path).unwrap(), Some(lock()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn changes_are_listed_by_package_and_image() {
    let mut new = lock();
    new.packages.retain(|package| package.id() != "libc6=2.40");
    new.packages[0].version = Version::new("6");
    new.packages[2] = package("vim", "9");
    new.images[0].reference = "registry.example/y@sha256:2".into();
    assert_eq!(
        changes(&lock(), &new),
        "bash 5 -> 6\n\
         libc6 2.40, 2.41 -> 2.41\n\
         registry.example/x@sha256:1 removed\n\
         registry.example/y@sha256:2 added\n\
         sshd 10 removed\n\
         vim 9 added\n"
    );
    assert_eq!(changes(&lock(), &lock()), "");
}
