//! A service that is made from an image of a registry: locked by digest, pulled
//! for the board's architecture, and in the system as one more bundle.

use std::{fs, path::Path, process::Command};

use rubus_tests::{
    checkout::Checkout,
    disk::{Table, fat_copy},
    registry::Registry,
    tools::{must, must_fail, rubus},
};
use serde_json::{Value, json};

const SERVICE: &str = "\
description = \"Says hello\"
kind = \"daemon\"
image = \"IMAGE\"
environment = { GREETING = \"good morning\" }
";

fn in_checkout(checkout: &Checkout, arguments: &[&str]) -> Command {
    let mut command = rubus();
    command.args(arguments).current_dir(checkout.path());
    command
}

/// Copies the system out of an image and unpacks one folder of it.
fn unpack(image: &Path, folder: &str, to: &Path) {
    let (slot, squashfs) = (to.with_extension("slot"), to.with_extension("squashfs"));
    Table::of(image).extract(2, &slot);
    fat_copy(&slot, "system.squashfs", &squashfs);
    must(
        Command::new("unsquashfs")
            .args(["-quiet", "-no-progress", "-dest"])
            .args([to, &squashfs])
            .arg(folder),
    );
}

#[test]
fn a_service_from_an_image_is_locked_built_and_described() {
    let registry = Registry::start();
    let reference = registry.push(
        "test/hello",
        &json!({
            "Env": ["PATH=/opt/bin", "GREETING=hello", "FROM=image"],
            "Entrypoint": ["/opt/bin/hello"],
            "Cmd": ["--loud"],
            "User": "app",
            "WorkingDir": "/srv",
        }),
        &[
            &[
                ("opt/bin/hello", "lower"),
                ("etc/passwd", "app:x:1000:1001:An app:/srv:/bin/sh\n"),
                ("etc/gone", "x"),
            ],
            &[("etc/.wh.gone", ""), ("opt/bin/hello", "upper")],
        ],
    );
    let (_, digest) = reference.split_once('@').unwrap();
    let checkout = Checkout::new("022");
    let folder = checkout.path().join("services/hello");
    fs::create_dir(&folder).unwrap();
    fs::write(
        folder.join("service.toml"),
        SERVICE.replace("IMAGE", &reference),
    )
    .unwrap();

    // The other services would only take time.
    let others =
        ["console", "docker", "gateway", "mdns", "network"].map(|name| format!("{name} = false\n"));
    fs::write(
        checkout.path().join("rubus.toml"),
        format!("[services]\n{}", others.concat()),
    )
    .unwrap();

    // The committed lock does not know it, and a build may be told not to look.
    let build = ["build", "--board", "qemu-virt", "--compress", "none"];
    let said = must_fail(in_checkout(&checkout, &build).arg("--locked"), 1);
    for word in ["services/hello/service.toml", digest, "`rubus lock`"] {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }

    // Renewing everything locks it by digest.
    let lock = checkout.path().join("rubus.lock");
    let committed = fs::read(&lock).unwrap();
    must(&mut in_checkout(&checkout, &["lock"]));
    let text = fs::read_to_string(&lock).unwrap();
    let parsed: toml::Table = text.parse().unwrap();
    let image = &parsed["image"].as_array().unwrap()[0];
    assert_eq!(image["reference"].as_str(), Some(reference.as_str()));
    assert_eq!(image["sha256"].as_str(), digest.strip_prefix("sha256:"));
    for platform in ["linux/amd64", "linux/arm64"] {
        assert!(image["platforms"].get(platform).is_some(), "{text}");
    }

    // So does a build, which leaves everything else as it was.
    fs::write(&lock, &committed).unwrap();
    must(&mut in_checkout(&checkout, &build));
    let text = fs::read_to_string(&lock).unwrap();
    assert!(text.contains(&reference), "{text}");
    for line in String::from_utf8(committed).unwrap().lines() {
        assert!(text.contains(line), "{line:?} is gone from the lock");
    }

    let image = checkout.path().join("out/rubus-qemu-virt.img");
    let system = checkout.path().join("out/system");
    unpack(&image, "usr/lib/rubus/services/hello", &system);
    let bundle = system.join("usr/lib/rubus/services/hello");
    let file = |path: &str| fs::read_to_string(bundle.join("rootfs").join(path)).unwrap();
    assert_eq!(file("etc/arch"), "arm64");
    assert_eq!(file("opt/bin/hello"), "upper");
    assert!(!bundle.join("rootfs/etc/gone").exists());
    let config: Value =
        serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap();
    let process = &config["process"];
    assert_eq!(process["args"], json!(["/opt/bin/hello", "--loud"]));
    assert_eq!(process["cwd"], json!("/srv"));
    assert_eq!(
        (&process["user"]["uid"], &process["user"]["gid"]),
        (&json!(1000), &json!(1001))
    );
    let env = process["env"].as_array().unwrap();
    for variable in ["PATH=/opt/bin", "GREETING=good morning", "FROM=image"] {
        assert!(env.contains(&json!(variable)), "{env:?}");
    }
    assert_eq!(env.len(), 4, "and HOME: {env:?}");

    // It is named, with its digest, wherever the image describes itself.
    let inspect = ["inspect", "out/rubus-qemu-virt.img"];
    let said = must(&mut in_checkout(&checkout, &inspect));
    assert!(said.contains(&reference), "{said}");
    let said = must(in_checkout(&checkout, &inspect).arg("--json"));
    let report: Value = serde_json::from_str(&said).unwrap();
    let service = &report["slots"][0]["manifest"]["services"]["hello"];
    assert_eq!(service["image"], json!(reference));
    let bill = fs::read_to_string(image.with_extension("spdx.json")).unwrap();
    let bill: Value = serde_json::from_str(&bill).unwrap();
    let package = bill["packages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|package| package["name"] == json!(reference.split('@').next()))
        .expect("the bill of materials names the image");
    assert_eq!(package["versionInfo"], json!(digest));

    // Without the registry the cache does.
    drop(registry);
    fs::remove_dir_all(checkout.path().join("out")).unwrap();
    must(in_checkout(&checkout, &build).args(["--locked", "--offline"]));
}
