//! The engine of an image: reached over the network by clients with a certificate,
//! and by the gateway, whose own tests of an engine run on it.

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

/// The engine's port is for those with a certificate of the node.
fn is_reached_by_clients_with_certificates_only(node: &mut Node) {
    let folder = tempfile::tempdir().unwrap();
    let (port, mut tunnel) = node.tunnel(2376);
    let address = format!("https://127.0.0.1:{port}/version");
    let curl = |credentials: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail", "--max-time", "60"]);
        command.args(credentials).current_dir(folder.path());
        command
    };
    assert!(!run(curl(&["--insecure"]).arg(&address)).status.success());
    let said = node.ssh("ros tls generate && ros config set docker.tcp true");
    assert!(said.contains("localhost"), "{said}");
    node.wait_ssh_command("docker version", 3 * MINUTE);
    for file in ["ca.pem", "cert.pem", "key.pem"] {
        let content = node.ssh(&format!("cat docker-tls/{file}"));
        std::fs::write(folder.path().join(file), content).unwrap();
    }
    must(
        Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", "sslclient"])
            .args(["-CAfile", "ca.pem", "cert.pem"])
            .current_dir(folder.path()),
    );
    let client = [
        "--cacert", "ca.pem", "--cert", "cert.pem", "--key", "key.pem",
    ];
    let said = must(curl(&client).arg(&address));
    assert!(said.contains("ApiVersion"), "{said}");
    // No client without a certificate, or with one of another node.
    let said = run(curl(&["--cacert", "ca.pem"]).arg(&address));
    assert!(!said.status.success());
    let plain = format!("http://127.0.0.1:{port}/version");
    assert!(!run(curl(&[]).arg(&plain)).status.success());
    node.ssh("ros tls generate --new-authority --out other && ros service restart docker");
    node.wait_ssh_command("docker version", 3 * MINUTE);
    let said = run(curl(&["--insecure", "--cert", "cert.pem", "--key", "key.pem"]).arg(&address));
    assert!(!said.status.success(), "a client of the old authority");
    let _ = tunnel.kill();
    let _ = tunnel.wait();
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
    is_reached_by_clients_with_certificates_only(&mut node);
    node.wait_ssh_command("ros os status --check", 3 * MINUTE);

    // There, because functions are reached at the addresses of their
    // containers. The node's own gateway would look after them too.
    node.ssh("ros service stop gateway");
    let output = run(node.ssh_command().arg(
        "TEST_DOCKER_SOCKET=/run/rubus/docker/docker.sock TEST_SECRETS=$HOME/secrets \
         TEST_DOCKER_IMAGE=rubus/echoit:0.1.0 \
         timeout 600 ./conformance --include-ignored 2>&1",
    ));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("2 passed"), "{said}");
}
