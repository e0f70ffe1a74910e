//! The archive of function images, read by the tools that have to accept it.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use rubus::{
    functions::{self, Definition},
    tree::{Kind, Node, Tree},
};
use serde_json::Value;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const TIME: u64 = 1_700_000_000;

/// An empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("functions-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// What the packages of the functions would hold.
fn packages() -> Tree {
    let mut tree = Tree::new();
    for (path, content) in [
        ("usr/bin/busybox", "busybox"),
        ("usr/share/doc/busybox-static/copyright", "GPL-2"),
        ("usr/share/doc/busybox-static/changelog.gz", "changes"),
        ("usr/share/man/man1/busybox.1.gz", "manual"),
    ] {
        tree.insert(path, Node::file(0o755, content)).unwrap();
    }
    tree
}

fn ours() -> Vec<Definition> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions");
    functions::load(&folder).unwrap()
}

fn images() -> Tree {
    functions::images(&ours(), &packages(), "watchdog".into(), TIME).unwrap()
}

fn content(tree: &Tree, path: &str) -> Vec<u8> {
    match &tree.get(path).unwrap().kind {
        Kind::File(content) => content.read().unwrap(),
        other => panic!("{path}: {other:?}"),
    }
}

fn write_archive(folder: &Path) -> PathBuf {
    let path = folder.join("images.tar");
    fs::write(&path, content(&images(), "images.tar")).unwrap();
    path
}

fn skopeo(arguments: &[&str]) -> String {
    let output = Command::new("skopeo")
        .args(arguments)
        .output()
        .expect("these tests need skopeo");
    assert!(
        output.status.success(),
        "skopeo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The entries of a tar: path to mode, owner, group and content or target.
fn entries(tar: &[u8]) -> BTreeMap<String, (u32, u64, u64, String)> {
    let mut archive = tar::Archive::new(tar);
    let mut entries = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        assert_eq!(entry.header().mtime().unwrap(), TIME);
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let header = entry.header().clone();
        let mut text = String::new();
        match entry.link_name().unwrap() {
            Some(target) => target.to_str().unwrap().clone_into(&mut text),
            None => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                text.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
        let attributes = (
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            text,
        );
        entries.insert(path, attributes);
    }
    entries
}

#[test]
fn skopeo_reads_every_image_of_the_archive() {
    let archive = write_archive(&folder("inspect"));
    for name in ["base64", "echoit", "nodeinfo", "wordcount"] {
        let reference = format!(
            "docker-archive:{}:rubus/{name}:{VERSION}",
            archive.display()
        );
        let image = json(&skopeo(&["inspect", &reference]));
        assert_eq!(image["Architecture"], "arm64");
        assert_eq!(image["Created"], "2023-11-14T22:13:20Z");
    }
}

#[test]
fn an_image_keeps_the_contract_of_functions() {
    let archive = write_archive(&folder("config"));
    let reference = format!(
        "docker-archive:{}:rubus/echoit:{VERSION}",
        archive.display()
    );
    let image = json(&skopeo(&["inspect", "--config", &reference]));
    let config = &image["config"];
    assert_eq!(config["Cmd"], serde_json::json!(["fwatchdog"]));
    assert_eq!(config["User"], "100:101");
    assert!(config["ExposedPorts"]["8080/tcp"].is_object());
    let environment = config["Env"].as_array().unwrap();
    assert!(environment.contains(&"fprocess=cat".into()));
}

#[test]
fn skopeo_copies_an_image_whose_digests_hold() {
    let folder = folder("copy");
    let archive = write_archive(&folder);
    for name in ["echoit", "nodeinfo"] {
        let source = format!(
            "docker-archive:{}:rubus/{name}:{VERSION}",
            archive.display()
        );
        let target = format!("oci:{}:{name}", folder.join("oci").display());
        skopeo(&["copy", "--insecure-policy", &source, &target]);
        let image = json(&skopeo(&["inspect", "--config", &target]));
        let layers = image["rootfs"]["diff_ids"].as_array().unwrap().len();
        assert_eq!(layers, if name == "nodeinfo" { 3 } else { 2 });
    }
}

#[test]
fn shared_layers_are_in_the_archive_once() {
    let bytes = content(&images(), "images.tar");
    let mut archive = tar::Archive::new(bytes.as_slice());
    let paths: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    // Base, watchdog, the files of nodeinfo, four configurations, the manifest.
    assert_eq!(paths.len(), 8, "{paths:?}");
    assert_eq!(paths.last().unwrap(), "manifest.json");
}

#[test]
fn the_layers_hold_a_system_that_functions_run_in() {
    let bytes = content(&images(), "images.tar");
    let files = entries(&bytes);
    let manifest = json(&files["manifest.json"].3);
    let mut root = BTreeMap::new();
    let nodeinfo = manifest
        .as_array()
        .unwrap()
        .iter()
        .find(|image| image["RepoTags"][0] == format!("rubus/nodeinfo:{VERSION}"))
        .unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut blobs = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut blob = Vec::new();
        entry.read_to_end(&mut blob).unwrap();
        blobs.insert(path, blob);
    }
    for layer in nodeinfo["Layers"].as_array().unwrap() {
        root.extend(entries(&blobs[layer.as_str().unwrap()]));
    }
    assert_eq!(root["usr/bin/sh"].3, "busybox");
    assert_eq!(root["bin"].3, "usr/bin");
    assert_eq!(root["usr/bin/fwatchdog"].0, 0o755);
    assert_eq!(root["usr/bin/nodeinfo"].0, 0o755);
    assert_eq!(root["tmp/"].0, 0o1777);
    assert_eq!((root["home/app/"].1, root["home/app/"].2), (100, 101));
    assert!(root.contains_key("usr/share/doc/busybox-static/copyright"));
    assert!(!root.contains_key("usr/share/doc/busybox-static/changelog.gz"));
    assert!(!root.contains_key("usr/share/man/man1/busybox.1.gz"));
}

#[test]
fn packages_of_before_the_usr_merge_end_up_in_usr() {
    let mut tree = Tree::new();
    tree.insert("bin/busybox", Node::file(0o755, "busybox"))
        .unwrap();
    functions::images(&ours(), &tree, "watchdog".into(), TIME).unwrap();
}

#[test]
fn two_archives_are_identical() {
    assert!(content(&images(), "images.tar") == content(&images(), "images.tar"));
}

#[test]
fn the_list_says_what_to_deploy() {
    let list = json(std::str::from_utf8(&content(&images(), "functions.json")).unwrap());
    let echoit = &list[1];
    assert_eq!(echoit["service"], "echoit");
    assert_eq!(echoit["image"], format!("rubus/echoit:{VERSION}"));
    assert_eq!(echoit["labels"]["com.openfaas.scale.zero"], "true");
}

#[test]
fn packages_without_busybox_are_refused() {
    let error = functions::images(&ours(), &Tree::new(), "watchdog".into(), TIME).unwrap_err();
    assert!(error.to_string().contains("busybox-static"), "{error}");
}

#[test]
fn a_wrong_definition_is_named_with_its_file_and_key() {
    for (name, text, expected) in [
        ("ok", "description = \"x\"", "process"),
        ("ok", "description = \"x\"\nprocess = \"\"", "process"),
        (
            "ok",
            "description = \"x\"\nprocess = \"cat\"\nproces = 1",
            "proces",
        ),
        (
            "ok",
            "description = \"x\"\nprocess = \"cat\"\nenvironment = { fprocess = \"x\" }",
            "environment",
        ),
        (
            "ok",
            "description = \"x\"\nprocess = \"cat\"\nfiles = { \"a\" = \"../secret\" }",
            "files",
        ),
        (
            "ok",
            "description = \"x\"\nprocess = \"cat\"\nfiles = { \"a\" = \"/etc/passwd\" }",
            "files",
        ),
        (
            "ok",
            "description = \"x\"\nprocess = \"cat\"\nfiles = { \"../a\" = \"ok.toml\" }",
            "files",
        ),
        (
            "ok",
            "description = \"x\"\nprocess = \"cat\"\nfiles = { \"a\" = \"missing\" }",
            "missing",
        ),
        (
            "Not_OK",
            "description = \"x\"\nprocess = \"cat\"",
            "name of a function",
        ),
    ] {
        let folder = folder("wrong");
        fs::write(folder.join(format!("{name}.toml")), text).unwrap();
        let error = format!("{:#}", functions::load(&folder).unwrap_err());
        assert!(error.contains(&format!("{name}.toml")), "{error}");
        assert!(error.contains(expected), "{text}: {error}");
    }
}
