//! The gateway's own tests of an engine, on the engine of an image.

use std::{
    fs::File,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use rubus_tests::{
    image::image,
    node::{Node, Options},
    tools::{must, project, run},
};
use serde_json::Value;

const MINUTE: Duration = Duration::from_secs(60);

/// The conformance tests, compiled as programs of the device are.
fn conformance() -> PathBuf {
    let said = must(
        Command::new(env!("CARGO"))
            .args(["test", "--package", "gateway", "--test", "conformance"])
            .args(["--target", "aarch64-unknown-linux-musl"])
            .args(["--no-run", "--message-format=json"])
            .current_dir(project()),
    );
    said.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find_map(|message| {
            let is_it = message["target"]["name"] == "conformance";
            let path = message["executable"].as_str().filter(|_| is_it)?;
            Some(PathBuf::from(path))
        })
        .expect("cargo names the program that it made")
}

#[test]
fn the_engine_conforms_to_what_the_gateway_expects() {
    let program = conformance();
    let mut node = Node::boot(&image("qemu-virt"), &Options::default());
    node.wait_ssh(2 * MINUTE);
    let copied = node
        .ssh_command()
        .arg("cat > conformance && chmod +x conformance")
        .stdin(Stdio::from(File::open(program).unwrap()))
        .status();
    assert!(copied.unwrap().success());
    node.wait_ssh_command("ros os status --check", 3 * MINUTE);

    // There, because functions are reached at the addresses of their
    // containers. The node's own gateway would look after them too.
    node.ssh("ros service stop gateway");
    let output = run(node.ssh_command().arg(
        "TEST_DOCKER_SOCKET=/run/rubus/docker/docker.sock \
         TEST_DOCKER_IMAGE=rubus/echoit:0.1.0 \
         timeout 600 ./conformance --include-ignored 2>&1",
    ));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("2 passed"), "{said}");
}
