//! What comes from outside may be damaged or made to harm: whatever it is, it
//! is refused or read, and nothing panics, runs for ever, takes all memory or
//! leaves its folder.

#[path = "support/mutate.rs"]
mod mutate;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use mutate::{bound_memory, each};
use pgp::{
    composed::{
        ArmorOptions, CleartextSignedMessage, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
    },
    types::Password,
};
use rubus::{
    board,
    cache::Cache,
    config::Config,
    debian::{
        deb::{self, Deb},
        packages,
        release::Release,
        resolve::{Request, Universe},
        signature::Keyring,
        sources::suite,
    },
    digest::Digest,
    functions,
    lock::{Lock, LockedImage},
    manifest::Manifest,
    oci::{Credentials, PLATFORM, Registry},
    tree::Tree,
    unpack::Filter,
};
use rubus_service::Service;
use serde_json::json;
use tempfile::TempDir;

/// Nothing in a tree leads out of it.
fn stays_inside(tree: &Tree) {
    for (path, _) in tree.iter() {
        assert!(
            !path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | "..")),
            "{path:?}"
        );
    }
}

/// The files of a folder of the checkout that end so.
fn checkout(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, ending, found);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(fs::read(path).unwrap());
            }
        }
    }
    let mut found = Vec::new();
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    walk(&top.join(folder), ending, &mut found);
    assert!(!found.is_empty(), "{folder} has no {ending}");
    found
}

fn slices(inputs: &[Vec<u8>]) -> Vec<&[u8]> {
    inputs.iter().map(Vec::as_slice).collect()
}

#[test]
fn package_lists_and_dependencies() {
    bound_memory();
    let control = |name: &str, rest: &str| {
        format!(
            "Package: {name}\nVersion: 1:2.10-3+deb13u1~bpo\nArchitecture: arm64\n\
             Priority: required\nPre-Depends: dpkg (>= 1.15)\n{rest}\n"
        )
    };
    let texts = [
        control(
            "aa",
            "Depends: bb (= 1:2.10-3+deb13u1~bpo) | cc, dd [arm64] (<< 3), ee:any",
        ),
        control(
            "bb",
            "Depends: libx (>> 0~),\n mail-agent\nProvides: mail-agent (= 2), dpkg",
        ),
        control(
            "cc",
            "Description: x\n long\n .\n text\nProvides: dd, ee, libx",
        ),
    ];
    let inputs: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    let parse = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        let digest = Digest::of(text.as_bytes());
        packages::parse_control(&text, suite("trixie").unwrap(), "pool/x.deb", 5, digest)
    };
    each("control", &inputs, 400, |text| {
        let Ok(package) = parse(text) else {
            return;
        };
        let request = Request {
            packages: [package.name.clone(), "aa".to_owned()].into(),
            ..Request::default()
        };
        let others = inputs.iter().map(|text| parse(text).unwrap());
        let mut universe = Universe::default();
        if universe.add("trixie", others.chain([package])).is_ok() {
            let _ = universe.closure(&request);
        }
    });
}

#[test]
fn signed_releases() {
    bound_memory();
    let mut random = rand::thread_rng();
    let mut key = SecretKeyParamsBuilder::default();
    key.key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(true)
        .primary_user_id("Archive <archive@example.org>".into());
    let key = key.build().unwrap().generate(&mut random).unwrap();
    let public = SignedPublicKey::from(key.clone())
        .to_armored_string(ArmorOptions::default())
        .unwrap();
    let keyring = Keyring::parse(&[&public]).unwrap();
    let mut sign = |text: &str| {
        CleartextSignedMessage::sign(&mut random, text, &key.primary_key, &Password::empty())
            .unwrap()
            .to_armored_bytes(ArmorOptions::default())
            .unwrap()
    };
    let hash = Digest::of(b"");
    let text = format!(
        "Codename: trixie\nDate: Fri, 20 Nov 2026 02:11:10 UTC\n\
         Valid-Until: Fri, 20 Nov 2099 02:11:10 UTC\nAcquire-By-Hash: yes\n\
         SHA256:\n {hash} 52 main/binary-arm64/Packages.xz\n {hash} 7 main/x\n"
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let verify =
        |bytes: &[u8]| Release::verify(bytes, suite("trixie").unwrap(), &keyring, now.as_secs());
    verify(&sign(&text)).unwrap();
    // What Debian would have to sign, and what any mirror can send.
    each("Release", &[text.as_bytes()], 150, |text| {
        let _ = verify(&sign(&String::from_utf8_lossy(text)));
    });
    let signed = sign(&text);
    each("InRelease", &[&signed, public.as_bytes()], 200, |bytes| {
        if let Ok(release) = verify(bytes) {
            assert_eq!(release.file("main/x"), Some((hash, 7)));
        }
    });
}

fn tar(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        if matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link) {
            header.set_size(0);
            builder.append_link(&mut header, path, content).unwrap();
        } else {
            header.set_size(content.len() as u64);
            builder
                .append_data(&mut header, path, content.as_bytes())
                .unwrap();
        }
    }
    builder.into_inner().unwrap()
}

/// Archives with a bit of everything; long names take entries of their own.
fn archives() -> Vec<Vec<u8>> {
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    let long = "long/".repeat(40) + "name";
    vec![
        tar(&[
            ("usr/", Directory, ""),
            ("usr/bin/app", Regular, "#!/bin/sh\n"),
            ("usr/bin/link", Symlink, "../../../etc/passwd"),
            ("usr/bin/hard", Link, "usr/bin/app"),
        ]),
        tar(&[
            (&long, Regular, "content"),
            ("usr/bin/.wh.app", Regular, ""),
            ("usr/.wh..wh..opq", Regular, ""),
            ("bin/sh", Regular, "x"),
        ]),
    ]
}

/// Sets the checksums of whatever may be headers, so that damage gets further
/// than to a wrong checksum.
fn with_checksums(tar: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    for block in tar.chunks_exact_mut(512) {
        if block.iter().any(|byte| *byte != 0) && block[257..].starts_with(b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    tar
}

#[test]
fn packages_and_what_is_in_them() {
    bound_memory();
    let folder = TempDir::new().unwrap();
    let cache = Cache::at(folder.path().join("cache")).unwrap();
    let path = folder.path().join("x.deb");
    let control = tar(&[("./control", tar::EntryType::Regular, "Package: aa\n")]);
    let ar = |members: &[(&str, &[u8])]| {
        let mut builder = ar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    };
    let version = ("debian-binary", &b"2.0\n"[..]);
    let mut read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let _ = deb::control(&path);
        let deb = Deb {
            name: "x".to_owned(),
            path: path.clone(),
            sha256: Digest::of(bytes),
            size: bytes.len() as u64,
            filter: Filter::lean().unwrap(),
        };
        if let Ok(tree) = deb::unpack(&deb, &cache) {
            stays_inside(&tree);
        }
    };
    let data = archives();
    let debs: Vec<Vec<u8>> = data
        .iter()
        .map(|data| ar(&[version, ("control.tar", &control), ("data.tar", data)]))
        .collect();
    each("deb", &slices(&debs), 200, &mut read);
    let packed = zstd::encode_all(&data[0][..], 1).unwrap();
    let packed = ar(&[
        version,
        ("control.tar", &control),
        ("data.tar.zst", &packed),
    ]);
    each("compressed deb", &[&packed], 200, &mut read);
    each("tar", &slices(&data), 300, |data| {
        let data = with_checksums(data);
        read(&ar(&[version, ("control.tar", &data), ("data.tar", &data)]));
    });
    // Nothing was written beside the cache.
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn images_of_registries() {
    bound_memory();
    let folder = TempDir::new().unwrap();
    let cache = Cache::at(folder.path()).unwrap();
    let descriptor = |bytes: &[u8], kind: &str| {
        cache.store(bytes).unwrap();
        json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": format!("sha256:{}", Digest::of(bytes)),
            "size": bytes.len(),
        })
    };
    let config = json!({
        "architecture": "arm64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] },
        "config": { "Env": ["A=b"], "Cmd": ["x"], "User": "1:2", "WorkingDir": "/x" },
    })
    .to_string();
    let manifest = |config: &[u8], layers: &[&[u8]]| {
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| descriptor(layer, "layer.v1.tar"))
            .collect();
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor(config, "config.v1+json"),
            "layers": layers,
        })
        .to_string()
    };
    let registry = Registry::new(&cache, Credentials::default(), true);
    let pull = |manifest: &[u8]| {
        let sha256 = cache.store(manifest).unwrap();
        let image = LockedImage {
            reference: format!("localhost/x@sha256:{sha256}"),
            sha256,
            platforms: BTreeMap::from([(PLATFORM.to_owned(), sha256)]),
        };
        let _ = registry.lock(&image.reference);
        let image = registry.pull(&image, &())?;
        image.tree(&cache)
    };
    let data = archives();
    let good = manifest(config.as_bytes(), &slices(&data));
    pull(good.as_bytes()).unwrap();
    each("manifest", &[good.as_bytes()], 250, |bytes| {
        if let Ok(tree) = pull(bytes) {
            stays_inside(&tree);
        }
    });
    each("configuration", &[config.as_bytes()], 150, |bytes| {
        let _ = pull(manifest(bytes, &[]).as_bytes());
    });
    each("layer", &slices(&data), 200, |layer| {
        let layer = with_checksums(layer);
        let layers: [&[u8]; 2] = [&data[0], &layer];
        if let Ok(tree) = pull(manifest(config.as_bytes(), &layers).as_bytes()) {
            stays_inside(&tree);
        }
    });
    let logins = br#"{"auths":{"https://index.docker.io/v1/":{"auth":"cnVidXM6c2VjcmV0"},
        "localhost:5000":{"username":"a","password":"b"}},"credsStore":"x"}"#;
    each("logins", &[logins], 400, |text| {
        let _ = Credentials::parse(&String::from_utf8_lossy(text));
    });
}

#[test]
fn files_that_people_write() {
    bound_memory();
    let services = checkout("services", "service.toml");
    each("service.toml", &slices(&services), 60, |text| {
        let text = String::from_utf8_lossy(text);
        let _ = Service::parse("x", "service.toml", &text);
    });

    let folder = TempDir::new().unwrap();
    let path = folder.path().join("rubus.toml");
    let text = b"hostname = \"node1\"\nssh_keys = [\"ssh-ed25519 AAAA me\", \"~/x.pub\"]\n\
        slot_size = \"256M\"\n[services]\nmdns = false\n[service.console]\n\
        packages = [\"git\", \"jq\"]\nfiles = \"more\"\n[mirror]\ndebian = \"http://x/debian\"\n";
    each("rubus.toml", &[text], 500, |text| {
        fs::write(&path, text).unwrap();
        if let Ok(config) = Config::load(Some(&path)) {
            let _ = config.settings();
        }
    });

    let boards = checkout("boards", "rpi4.toml");
    let sets = folder.path().join("boards/sets");
    fs::create_dir_all(&sets).unwrap();
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../boards/sets");
    for entry in fs::read_dir(top).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), sets.join(entry.file_name())).unwrap();
    }
    let boards_folder = folder.path().join("boards");
    each("board", &slices(&boards), 150, |text| {
        fs::write(boards_folder.join("x.toml"), text).unwrap();
        let _ = board::load(&boards_folder, "x");
    });

    let samples = checkout("functions", ".toml");
    let functions_folder = folder.path().join("functions");
    fs::create_dir(&functions_folder).unwrap();
    each("function", &slices(&samples), 100, |text| {
        fs::write(functions_folder.join("x.toml"), text).unwrap();
        let _ = functions::load(&functions_folder);
    });
}

#[test]
fn locks_and_manifests() {
    bound_memory();
    let hash = Digest::of(b"");
    let lock = format!(
        "version = 1\ntimestamp = 1795140670\n\n\
         [[release]]\nsuite = \"trixie\"\ndate = 1795140670\nsha256 = \"{hash}\"\n\n\
         [[image]]\nreference = \"x/y@sha256:{hash}\"\nsha256 = \"{hash}\"\n\
         [image.platforms]\n\"linux/arm64\" = \"{hash}\"\n\n\
         [set.\"service/a\"]\npackages = [\"aa\"]\nclosure = [\"aa=1:2-3\"]\n\n\
         [[package]]\nname = \"aa\"\nversion = \"1:2-3\"\narchitecture = \"arm64\"\n\
         suite = \"trixie\"\narchive = \"debian\"\npath = \"pool/main/aa.deb\"\nsize = 5\n\
         sha256 = \"{hash}\"\nadded = 1795140671\n"
    );
    Lock::parse(&lock).unwrap();
    each("lock", &[lock.as_bytes()], 800, |text| {
        if let Ok(lock) = Lock::parse(&String::from_utf8_lossy(text)) {
            for package in lock.packages() {
                assert!(package.path.starts_with("pool/") && !package.path.contains("/../"));
            }
            assert_eq!(Lock::parse(&lock.to_text().unwrap()).unwrap(), lock);
        }
    });
    let manifest = br#"{"format":1,"board":"b","version":"1","build_id":"0","timestamp":-1,
        "kernel":"6","files":{"x":{"size":1,"sha256":"00"}},"services":{"a":{"description":"d",
        "enabled":true,"packages":{"p":"1"},"image":"x@sha256:1"}},"sizes":{"a":18446744073709551615}}"#;
    Manifest::from_json(manifest).unwrap();
    each("manifest", &[manifest], 800, |text| {
        let _ = Manifest::from_json(text);
    });
}
