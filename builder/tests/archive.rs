//! From a mirror to a lock: an archive of our own, signed with a key of our own.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use pgp::{
    composed::{
        ArmorOptions, CleartextSignedMessage, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
        SignedSecretKey,
    },
    types::Password,
};
use rand::thread_rng;
use rubus::{
    cache::Cache,
    debian::{
        archive::Sources,
        resolve::Request,
        signature::Keyring,
        sources::{MirrorOptions, Mirrors, pool},
    },
    digest::Digest,
    fetch::{Fetcher, Retry},
    lock::{self, Lock},
};

type Files = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// A mirror of `trixie` and what belongs to it.
struct Mirror {
    url: String,
    files: Files,
    key: SignedSecretKey,
}

impl Mirror {
    fn start() -> Self {
        let mut key = SecretKeyParamsBuilder::default();
        key.key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .primary_user_id("Archive <archive@example.org>".into());
        let key = key.build().unwrap().generate(thread_rng()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let files = Files::default();
        let served = Arc::clone(&files);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines: Vec<String> = BufReader::new(&stream)
                    .lines()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let path = lines[0].split(' ').nth(1).unwrap();
                let (status, body) = match served.lock().unwrap().get(path) {
                    Some(body) => ("200 OK", body.clone()),
                    None => ("404 Not Found", Vec::new()),
                };
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
                );
                // A client that hangs up is no concern of the mirror's.
                let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            }
        });
        let mirror = Self { url, files, key };
        for suite in ["trixie-updates", "trixie-backports"] {
            mirror.publish("debian", suite, "");
        }
        mirror.publish("debian-security", "trixie-security", "");
        mirror
    }

    fn put(&self, path: &str, content: Vec<u8>) {
        self.files.lock().unwrap().insert(path.to_owned(), content);
    }

    /// Publishes a suite with the given packages in `main`.
    fn publish(&self, archive: &str, suite: &str, packages: &str) {
        self.publish_at(archive, suite, packages, "Fri, 20 Nov 2026 02:11:10 UTC");
    }

    fn publish_at(&self, archive: &str, suite: &str, packages: &str, date: &str) {
        let mut hashes = String::new();
        for (component, text) in [("main", packages), ("non-free-firmware", "")] {
            let bytes = xz(text.as_bytes());
            let path = format!("{component}/binary-arm64/Packages.xz");
            let digest = Digest::of(&bytes);
            hashes.push_str(&format!(" {digest} {} {path}\n", bytes.len()));
            self.put(&format!("/{archive}/dists/{suite}/{path}"), bytes);
        }
        let text = format!(
            "Codename: {suite}\nDate: {date}\nAcquire-By-Hash: yes\n\
             SHA256:\n{hashes}"
        );
        let message = CleartextSignedMessage::sign(
            thread_rng(),
            &text,
            &self.key.primary_key,
            &Password::empty(),
        )
        .unwrap()
        .to_armored_bytes(ArmorOptions::default())
        .unwrap();
        self.put(&format!("/{archive}/dists/{suite}/InRelease"), message);
    }

    fn lock(&self, requests: &[(&str, Request)]) -> Result<Lock> {
        self.with_sources(|sources| lock::renew(&by_name(requests), Vec::new(), sources, &()))
    }

    fn complete(&self, lock: &Lock, requests: &[(&str, Request)]) -> Result<Lock> {
        self.with_sources(|sources| lock.complete(&by_name(requests), Vec::new(), sources, &()))
    }

    fn with_sources<T>(&self, work: impl FnOnce(&Sources<'_>) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let public = SignedPublicKey::from(self.key.clone())
            .to_armored_string(ArmorOptions::default())
            .unwrap();
        let fetcher = Fetcher::new(false).with_retry(Retry {
            rounds: 2,
            pause: Duration::from_millis(1),
        });
        let sources = Sources {
            mirrors: &self.mirrors(),
            fetcher: &fetcher,
            cache: &cache,
            keyring: &Keyring::parse(&[&public]).unwrap(),
            now: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs(),
        };
        work(&sources)
    }

    fn mirrors(&self) -> Mirrors {
        let options = MirrorOptions {
            mirror: Some(format!("{}/debian", self.url)),
            security_mirror: Some(format!("{}/debian-security", self.url)),
            snapshot_mirror: None,
        };
        Mirrors::choose(&options, Path::new("/nonexistent")).unwrap()
    }
}

fn by_name(requests: &[(&str, Request)]) -> BTreeMap<String, Request> {
    requests
        .iter()
        .map(|(name, request)| ((*name).to_owned(), request.clone()))
        .collect()
}

/// A package of which nothing but its `control` file is of interest.
fn deb(control: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(control.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "./control", control.as_bytes())
        .unwrap();
    let mut ar = ar::Builder::new(Vec::new());
    for (name, content) in [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.xz", xz(&tar.into_inner().unwrap())),
    ] {
        let header = ar::Header::new(name.into(), content.len() as u64);
        ar.append(&header, &content[..]).unwrap();
    }
    ar.into_inner().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn stanza(name: &str, version: &str, depends: &str) -> String {
    let digest = Digest::of(format!("{name} {version}").as_bytes());
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: arm64\nDepends: {depends}\n\
         Filename: pool/main/{name}_{version}.deb\nSize: 5\nSHA256: {digest}\n\n"
    )
}

fn request(origin: &str, suite: Option<&str>, packages: &[&str]) -> Request {
    Request {
        packages: packages.iter().map(|name| (*name).to_owned()).collect(),
        suite: suite.map(str::to_owned),
        origin: origin.into(),
        ..Request::default()
    }
}

fn ids(lock: &Lock, set: &str, request: &Request) -> Vec<String> {
    lock.set(set, request)
        .unwrap()
        .iter()
        .map(|package| format!("{} {} {}", package.name, package.version, package.suite))
        .collect()
}

#[test]
fn a_lock_takes_updates_and_keeps_backports_to_those_who_ask() {
    let mirror = Mirror::start();
    let trixie = [stanza("kernel", "6", "libc"), stanza("libc", "2.41-1", "")].concat();
    mirror.publish("debian", "trixie", &trixie);
    mirror.publish(
        "debian-security",
        "trixie-security",
        &stanza("libc", "2.41-1+deb13u1", ""),
    );
    let backports = [stanza("kernel", "7", "libc"), stanza("libc", "3", "")].concat();
    mirror.publish("debian", "trixie-backports", &backports);

    let old = request("boards/rpi4.toml", None, &["kernel"]);
    let new = request("boards/rpi5.toml", Some("trixie-backports"), &["kernel"]);
    let requests = [("kernel/rpi4", old.clone()), ("kernel/rpi5", new.clone())];
    let lock = mirror.lock(&requests).unwrap();
    let libc = "libc 2.41-1+deb13u1 trixie-security";
    assert_eq!(ids(&lock, "kernel/rpi4", &old), ["kernel 6 trixie", libc]);
    assert_eq!(
        ids(&lock, "kernel/rpi5", &new),
        ["kernel 7 trixie-backports", libc]
    );
    assert_eq!(lock.timestamp, 1_795_140_670);
    assert_eq!(lock.releases.len(), 4);
    assert_eq!(lock.packages().len(), 3);

    // The same archive gives the same lock, which names no host.
    let text = lock.to_text().unwrap();
    assert_eq!(mirror.lock(&requests).unwrap().to_text().unwrap(), text);
    assert!(!text.contains("127.0.0.1"), "{text}");
    let security = &lock.set("kernel/rpi4", &old).unwrap()[1];
    assert_eq!(
        security.item(&mirror.mirrors(), lock.timestamp).urls,
        [format!(
            "{}/debian-security/pool/main/libc_2.41-1+deb13u1.deb",
            mirror.url
        )]
    );
}

/// A mirror on which `libc` became newer since `service/a` was locked, with the
/// stanzas of now; `tool` needs any `libc`, and `picky` the newer one.
fn a_lock_that_became_older() -> (Mirror, Lock, Request) {
    let mirror = Mirror::start();
    let control = "Package: libc\nVersion: 1\nArchitecture: arm64\nDepends: base\n";
    let file = deb(control);
    let libc = format!(
        "{control}Filename: pool/main/libc_1.deb\nSize: {}\nSHA256: {}\n\n",
        file.len(),
        Digest::of(&file)
    );
    mirror.put("/debian/pool/main/libc_1.deb", file);
    let base = stanza("base", "5", "");
    let app = stanza("app", "1", "libc");
    mirror.publish("debian", "trixie", &[&app[..], &libc, &base].concat());
    let request = request("services/a/service.toml", None, &["app"]);
    let lock = mirror.lock(&[("service/a", request.clone())]).unwrap();

    let tool = stanza("tool", "3", "libc");
    let picky = stanza("picky", "4", "libc (>= 2)");
    let (app, libc) = (stanza("app", "2", "libc"), stanza("libc", "2", ""));
    let list = [&app[..], &libc, &base, &tool, &picky].concat();
    mirror.publish_at("debian", "trixie", &list, "Sat, 21 Nov 2026 02:11:10 UTC");
    (mirror, lock, request)
}

#[test]
fn what_a_lock_lacks_is_added_and_what_it_holds_keeps_its_version() {
    let (mirror, lock, a) = a_lock_that_became_older();
    let b = request("services/b/service.toml", None, &["tool"]);
    let requests = [("service/a", a.clone()), ("service/b", b.clone())];
    let completed = mirror.complete(&lock, &requests).unwrap();
    assert_eq!(
        ids(&completed, "service/a", &a),
        ids(&lock, "service/a", &a)
    );
    // What the locked version needs comes along, not what the newer one does.
    let expected = ["base 5 trixie", "libc 1 trixie", "tool 3 trixie"];
    assert_eq!(ids(&completed, "service/b", &b), expected);
    assert_eq!(completed.timestamp, lock.timestamp);
    assert_eq!(completed.releases, lock.releases);
    let added: Vec<_> = completed
        .packages()
        .iter()
        .map(|package| (package.name.as_str(), package.added))
        .collect();
    let later = Some(1_795_227_070);
    assert_eq!(
        added,
        [
            ("app", None),
            ("base", None),
            ("libc", None),
            ("tool", later)
        ]
    );
    assert_eq!(lock::changes(&lock, &completed), "tool 3 added\n");
    assert_eq!(mirror.complete(&completed, &requests).unwrap(), completed);
}

#[test]
fn a_request_that_changed_leaves_nothing_behind() {
    let (mirror, lock, _) = a_lock_that_became_older();
    let changed = request("services/a/service.toml", None, &["tool"]);
    let completed = mirror.complete(&lock, &[("service/a", changed)]).unwrap();
    assert_eq!(
        lock::changes(&lock, &completed),
        "app 1 removed\ntool 3 added\n"
    );
}

#[test]
fn what_needs_a_newer_version_than_the_locked_one_is_refused() {
    let (mirror, lock, a) = a_lock_that_became_older();
    let b = request("services/b/service.toml", None, &["picky"]);
    let requests = [("service/a", a), ("service/b", b)];
    let error = format!("{:#}", mirror.complete(&lock, &requests).unwrap_err());
    for word in ["services/b/service.toml", "`rubus lock`", "libc (>= 2)"] {
        assert!(error.contains(word), "no {word:?} in: {error}");
    }
    // A locked version that nobody has any more cannot be kept.
    mirror
        .files
        .lock()
        .unwrap()
        .remove("/debian/pool/main/libc_1.deb");
    let error = format!("{:#}", mirror.complete(&lock, &requests).unwrap_err());
    assert!(error.contains("cannot keep libc 1"), "{error}");
}

#[test]
fn what_is_from_a_suite_that_cannot_be_read_can_stay_as_it_is() {
    let (mirror, _, a) = a_lock_that_became_older();
    mirror.publish("debian", "sid", &stanza("engine", "28", "libc"));
    let engine = request("services/docker/variants/x.toml", Some("sid"), &["engine"]);
    let old = mirror
        .lock(&[
            ("service/a", a.clone()),
            ("service/docker/x", engine.clone()),
        ])
        .unwrap();
    let sid = pool("sid").unwrap();
    mirror.with_sources(|sources| sources.check(sid)).unwrap();

    // The archive goes on, and sid is gone.
    let list = [stanza("app", "3", "libc"), stanza("libc", "3", "")].concat();
    mirror.publish("debian", "trixie", &list);
    mirror
        .files
        .lock()
        .unwrap()
        .remove("/debian/dists/sid/InRelease");
    assert!(mirror.with_sources(|sources| sources.check(sid)).is_err());
    let mut new = mirror.lock(&[("service/a", a.clone())]).unwrap();
    let kept = by_name(&[("service/docker/x", engine.clone())]);
    new.keep(&old, &kept).unwrap();
    assert_eq!(
        ids(&new, "service/a", &a),
        ["app 3 trixie", "libc 3 trixie"]
    );
    let before = ids(&old, "service/docker/x", &engine);
    assert_eq!(ids(&new, "service/docker/x", &engine), before);
    assert_eq!(before, ["engine 28 sid", "libc 2 trixie"]);
    assert!(new.releases.iter().any(|release| release.suite == "sid"));
    // What is written is a lock.
    assert_eq!(Lock::parse(&new.to_text().unwrap()).unwrap(), new);
    // It is kept for exactly what it was made for.
    let other = request("services/docker/variants/x.toml", Some("sid"), &["other"]);
    let other = by_name(&[("service/docker/x", other)]);
    assert!(new.keep(&old, &other).is_err());
}

#[test]
fn a_request_that_cannot_be_met_names_who_asks() {
    let mirror = Mirror::start();
    mirror.publish("debian", "trixie", &stanza("openssh-server", "1", "none"));
    for (request, reason) in [
        (
            request("services/console/service.toml", None, &["openssh-servr"]),
            "did you mean \"openssh-server\"?",
        ),
        (
            request("services/console/service.toml", None, &["openssh-server"]),
            "openssh-server needs none",
        ),
        (
            request("services/console/service.toml", Some("trixi"), &["x"]),
            "did you mean \"trixie\"?",
        ),
    ] {
        let error = mirror.lock(&[("console", request)]).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.starts_with("cannot lock services/console/service.toml: "),
            "{text}"
        );
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn a_mirror_that_changes_what_is_signed_is_not_believed() {
    let mirror = Mirror::start();
    mirror.publish("debian", "trixie", &stanza("aa", "1", ""));
    let asks = [("aa", request("aa", None, &["aa"]))];
    mirror.lock(&asks).unwrap();

    let list = "/debian/dists/trixie/main/binary-arm64/Packages.xz";
    let signed = mirror.files.lock().unwrap()[list].clone();
    let mut other = signed.clone();
    other[20] ^= 1;
    mirror.put(list, other);
    let error = format!("{:#}", mirror.lock(&asks).unwrap_err());
    assert!(error.contains("does not have the hash"), "{error}");

    mirror.put(list, signed);
    let path = "/debian/dists/trixie/InRelease";
    let release = mirror.files.lock().unwrap()[path].clone();
    let text = String::from_utf8(release).unwrap();
    mirror.put(path, text.replace("20 Nov", "21 Nov").into_bytes());
    let error = format!("{:#}", mirror.lock(&asks).unwrap_err());
    assert!(error.contains("the text was changed"), "{error}");

    // Another suite's release, though signed by the same key.
    let updates = mirror.files.lock().unwrap()["/debian/dists/trixie-updates/InRelease"].clone();
    mirror.put(path, updates);
    let error = format!("{:#}", mirror.lock(&asks).unwrap_err());
    assert!(error.contains("is one of trixie-updates"), "{error}");
}

#[test]
fn a_key_that_is_not_debians_is_not_trusted_by_default() {
    let mirror = Mirror::start();
    mirror.publish("debian", "trixie", "");
    let folder = tempfile::tempdir().unwrap();
    let sources = Sources {
        mirrors: &mirror.mirrors(),
        fetcher: &Fetcher::new(false),
        cache: &Cache::at(folder.path()).unwrap(),
        keyring: &Keyring::debian().unwrap(),
        now: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    };
    let error = lock::renew(&BTreeMap::new(), Vec::new(), &sources, &()).unwrap_err();
    assert!(
        format!("{error:#}").contains("a key that is not known"),
        "{error:#}"
    );
}
