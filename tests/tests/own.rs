//! A service of the user's own, added on a node.

use std::time::Duration;

use rubus_tests::{
    image::image,
    node::{Node, Options},
    tools::run,
};
use serde_json::Value;

const MINUTE: Duration = Duration::from_secs(60);

/// Shows a folder of the node.
const HELLO: &str = r#"
description = "Shows a folder"
kind = "daemon"
image = "./hello.tar"
command = ["busybox", "sh", "-c", "echo serving; exec busybox httpd -f -p 8099 -h /www"]
user = "root"
after = ["network"]
restart = "always"
network = "host"
mounts = ["/data/hello:/www:ro"]
[health]
tcp = 8099
interval = "2s"
[limits]
memory = "16M"
"#;

/// Waits for the other, and looks around.
const WATCHER: &str = r#"
description = "Says what it sees"
kind = "daemon"
image = "rubus/echoit:0.1.0"
command = ["/bin/busybox", "sh", "-c", "echo user $(id -u); cat $FILE; exec sleep 1000000"]
environment = { FILE = "/run/settings/settings.json" }
user = "1000:1000"
after = ["hello"]
settings = ["ntp"]
stop_timeout = "1s"
"#;

fn json(node: &Node, command: &str) -> Value {
    serde_json::from_str(&node.ssh(command)).unwrap()
}

fn service(node: &Node, name: &str) -> Option<Value> {
    let services = json(node, "ros service list --json");
    let mut services = services.as_array().unwrap().iter();
    services.find(|it| it["name"] == name).cloned()
}

fn page(node: &Node) -> String {
    let page = "curl --fail --silent http://127.0.0.1:8099/index.html";
    node.ssh(page).trim().to_owned()
}

#[test]
fn a_service_toml_becomes_a_service_like_those_of_the_image() {
    let disk = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(disk.path().join("disk")),
        disk: Some("4G"),
        ..Options::default()
    };
    let mut node = Node::boot(&image("qemu-virt"), &options);
    node.wait_ssh(4 * MINUTE);
    node.wait_ssh_command("docker image inspect rubus/echoit:0.1.0", 5 * MINUTE);
    node.ssh("docker save --output hello.tar rubus/echoit:0.1.0");
    node.ssh("sudo sh -c 'mkdir /data/hello && echo good morning > /data/hello/index.html'");

    // What is wrong is said before anything is made.
    node.write("hello.toml", &format!("packages = [\"x\"]{HELLO}"));
    let said = node.complaint("ros service add hello.toml");
    assert!(
        said.contains("hello.toml:1: `packages`: a node has no builder"),
        "{said}"
    );
    node.write("hello.toml", HELLO);
    for (name, words) in [
        ("docker", "docker is a service of the image"),
        ("registry", "registry is a compose file"),
        ("../etc", "cannot name a service"),
    ] {
        let said = node.complaint(&format!("ros service add --name {name} hello.toml"));
        assert!(said.contains(words), "{said}");
    }
    assert!(service(&node, "hello").is_none());

    // Added, it runs, and has what every service has.
    let said = node.ssh("ros service add hello.toml");
    assert!(
        said.contains("beyond the defaults, hello may: use the node's network; read /data/hello\n"),
        "{said}"
    );
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("hello is ready after "), "{said}");
    assert_eq!(page(&node), "good morning");
    let found = service(&node, "hello").unwrap();
    assert_eq!(
        (&found["kind"], &found["added"], &found["enabled"]),
        (&"daemon".into(), &true.into(), &true.into())
    );
    assert!(node.ssh("ros ps").contains("hello"));
    assert!(
        node.ssh("ros service inspect hello")
            .contains("./hello.tar")
    );
    node.wait_ssh_command("ros logs hello | grep -q serving", MINUTE);
    let status = node.ssh("ros service exec hello -- busybox cat /proc/1/status");
    for line in ["CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "no {line:?} in {status}");
    }
    node.ssh("! ros service exec hello -- busybox touch /file");

    // So does one that waits for it, as somebody else, with its settings.
    node.write("watcher.toml", WATCHER);
    let said = node.complaint("sed s/hello/helo/ watcher.toml | ros service add --name x -");
    assert!(said.contains("did you mean `hello`?"), "{said}");
    let said = node.complaint("sed 's/\"$//' watcher.toml | ros service add --name x -");
    assert!(said.starts_with("ros: -:2: "), "{said}");
    node.ssh("ros service add watcher.toml");
    node.wait_ssh_command("ros logs watcher | grep -q 'user 1000'", MINUTE);
    node.wait_ssh_command("ros logs watcher | grep -q '\"ntp\":'", MINUTE);
    let said = node.complaint("ros service remove hello");
    assert!(said.contains("watcher waits for hello"), "{said}");
    node.ssh("ros service disable watcher");
    assert_eq!(service(&node, "watcher").unwrap()["state"], "stopped");

    // A boot starts it; one that is damaged is told about and stops nothing.
    node.ssh("ros service add --name broken watcher.toml");
    node.ssh("sudo sh -c 'echo { > /var/lib/rubus/services/broken/service.json; sync'");
    // What a power cut leaves of one that is being added goes.
    let unfinished = [
        "/var/lib/rubus/services/.half.new",
        "/var/lib/rubus/variants/docker/.half.new",
    ];
    for folder in unfinished {
        node.ssh(&format!("sudo mkdir -p {folder}/rootfs/bin"));
    }
    let boot = node.ssh("cat /proc/sys/kernel/random/boot_id");
    // The machine ends while the answer is on its way.
    let _ = run(node.ssh_command().arg("ros os reboot"));
    let rebooted = format!("! grep -q {} /proc/sys/kernel/random/boot_id", boot.trim());
    node.wait_ssh_command(&rebooted, 5 * MINUTE);
    node.wait_ssh_command("ros service list | grep -q '^hello *ready'", 3 * MINUTE);
    assert_eq!(page(&node), "good morning");
    assert_eq!(service(&node, "watcher").unwrap()["state"], "stopped");
    for folder in unfinished {
        node.wait_ssh_command(&format!("! sudo test -e {folder}"), MINUTE);
    }
    let said = node.ssh("ros os status");
    assert!(said.contains("ros service remove broken"), "{said}");
    node.ssh("ros service remove broken");

    // Added again, the new one takes the place of the old one.
    node.ssh("sed -i s,/www,/pages,g hello.toml && ros service add hello.toml");
    let mounts = json(&node, "ros service inspect --json hello");
    assert_eq!(mounts["definition"]["mounts"][0], "/data/hello:/pages:ro");
    assert_eq!(page(&node), "good morning");
    // A new one that cannot be made leaves the old one as it is.
    node.ssh("truncate --size 100000 hello.tar");
    node.complaint("ros service add hello.toml");
    assert_eq!(page(&node), "good morning");

    // Removed, nothing is left but what it was shown.
    node.ssh("ros service remove watcher hello");
    assert!(service(&node, "hello").is_none());
    node.ssh("! curl --fail --silent http://127.0.0.1:8099/");
    assert_eq!(
        node.ssh("sudo ls -A /var/lib/rubus/services").trim(),
        ".lock"
    );
    assert_eq!(node.ssh("ls /data/hello").trim(), "index.html");
    assert!(!node.ssh("ros config export").contains("watcher"));
    let said = node.complaint("ros service remove hello");
    assert!(said.contains("`ros service list`"), "{said}");
}
