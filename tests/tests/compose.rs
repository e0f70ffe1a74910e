//! Services of the user's own, from compose files.

use std::time::Duration;

use rubus_tests::{
    image::image,
    node::{Node, Options},
    registry::Registry,
    tools::run,
};
use serde_json::Value;

const MINUTE: Duration = Duration::from_secs(60);

/// A server, and one that waits for it and finds it by its name.
const FILE: &str = r#"
services:
  pages:
    image: IMAGE
    user: root
    entrypoint: [/bin/busybox, sh, -c]
    command:
      - |
        echo serving
        [ -f /pages/index.html ] || echo "$${GREETING}" > /pages/index.html
        exec busybox httpd -f -p 8000 -h /pages
    environment: {GREETING: "hello"}
    ports: ["8090:8000"]
    volumes: ["pages:/pages"]
    healthcheck:
      test: [CMD, /bin/busybox, wget, -q, -O, /dev/null, "http://127.0.0.1:8000/"]
      interval: 2s
      start_period: 2m
    stop_grace_period: 1s
  reader:
    image: IMAGE
    entrypoint: [/bin/busybox, sh, -c]
    command: ["busybox wget -q -O - http://pages:8000/; exec busybox sleep 100000"]
    depends_on: {pages: {condition: service_healthy}}
    # That of the image would ask a watchdog.
    healthcheck: {disable: true}
    read_only: true
    cap_drop: [ALL]
    stop_grace_period: 1s
volumes:
  pages:
"#;

fn json(node: &Node, command: &str) -> Value {
    serde_json::from_str(&node.ssh(command)).unwrap()
}

fn service(node: &Node, name: &str) -> Value {
    let services = json(node, "ros service list --json");
    let services = services.as_array().unwrap();
    let found = services.iter().find(|it| it["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}")).clone()
}

fn ids(node: &Node) -> Vec<String> {
    let ids = |service: &str| {
        let filter = format!("label=com.docker.compose.service={service}");
        node.ssh(&format!("docker ps --quiet --no-trunc --filter {filter}"))
    };
    ["pages", "reader"].map(ids).to_vec()
}

#[test]
fn a_compose_file_becomes_a_service_like_the_others() {
    let registry = Registry::start();
    let disk = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(disk.path().join("disk")),
        disk: Some("4G"),
        ..Options::default()
    };
    let mut node = Node::boot(&image("qemu-virt"), &options);
    node.wait_ssh(4 * MINUTE);
    node.wait_ssh_command("ros os status --check", 4 * MINUTE);

    // An image that only a registry has.
    let host = registry.host_for_guests();
    let reference = format!("{host}/test/busybox:1");
    node.ssh(&format!(
        "ros config set docker.insecure_registries '[\"{host}\"]'"
    ));
    node.wait_ssh_command("docker image inspect rubus/echoit:0.1.0", 3 * MINUTE);
    node.ssh(&format!(
        "docker tag rubus/echoit:0.1.0 {reference} && docker push --quiet {reference} && docker rmi {reference}"
    ));

    // What is wrong is said, and nothing is kept.
    let file = FILE.replace("IMAGE", &reference);
    node.write("web.yaml", &file.replace("depends_on", "depend_on"));
    let said = node.complaint("ros service add web.yaml");
    assert!(said.contains("did you mean `depends_on`?"), "{said}");
    assert!(node.complaint("ros service enable web").contains("web"));
    node.write("web.yaml", &file);
    let said = node.complaint("ros service add --name docker web.yaml");
    assert!(said.contains("docker is a system service"), "{said}");

    // Added, it is there and does not run; the catalogue is there too.
    node.ssh("ros service add web.yaml");
    let found = service(&node, "web");
    assert_eq!(
        (&found["kind"], &found["state"]),
        (&"compose".into(), &"stopped".into())
    );
    assert_eq!(found["enabled"], false);
    assert_eq!(service(&node, "registry")["enabled"], false);

    // Enabled, it is fetched, started in order, and answers.
    node.ssh("ros service enable web");
    let found = service(&node, "web");
    assert_eq!(
        (&found["state"], &found["enabled"]),
        (&"ready".into(), &true.into()),
        "{found}"
    );
    assert_eq!(
        node.ssh("curl --silent http://127.0.0.1:8090/").trim(),
        "hello"
    );
    node.wait_ssh_command("ros logs web | grep -q 'reader | hello'", MINUTE);
    assert!(node.ssh("ros service ps").contains("web"));
    assert!(node.ssh("ros service inspect web").contains("web-pages-1"));

    // Once more changes nothing; what changed in the file is made anew.
    let before = ids(&node);
    node.ssh("ros service enable web");
    assert_eq!(ids(&node), before);
    node.write("web.yaml", &file.replace("sleep 100000", "sleep 200000"));
    node.ssh("ros service add web.yaml && ros service enable web");
    let after = ids(&node);
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1], before[1]);

    // Stopped, it stays so; a boot starts what runs.
    node.ssh("ros service stop web");
    assert_eq!(service(&node, "web")["state"], "stopped");
    node.ssh("ros service start web");
    // The machine ends while the answer is on its way.
    let _ = run(node.ssh_command().arg("ros os poweroff"));
    node.wait_end(3 * MINUTE);
    let mut node = Node::boot(&image("qemu-virt"), &options);
    node.wait_ssh(4 * MINUTE);
    node.wait_ssh_command("curl --fail --silent http://127.0.0.1:8090/", 4 * MINUTE);

    // Removed, nothing is left but its volume.
    node.ssh("ros service remove web");
    assert_eq!(
        node.ssh("docker ps --all --quiet --filter label=com.docker.compose.project=web"),
        ""
    );
    assert_eq!(
        node.ssh("docker network ls --quiet --filter name=web_default"),
        ""
    );
    assert_eq!(
        node.ssh("docker volume ls --quiet --filter name=web_pages")
            .trim(),
        "web_pages"
    );
    assert!(
        node.complaint("ros service remove web")
            .contains("ros service list")
    );
}
