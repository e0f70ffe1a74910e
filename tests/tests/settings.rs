//! A node is configured: by files on the card before its first boot, by `ros
//! config` afterwards.

use std::{
    fs,
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use rubus_tests::{
    disk::write_to_card,
    image::image,
    node::{Node, Options},
    tools::ssh_key,
};
use serde_json::Value;

const MINUTE: Duration = Duration::from_secs(60);

/// As Raspberry Pi Imager and people who know cloud-init write it. The content
/// of the file is "from the card\n".
const USER_DATA: &str = r#"#cloud-config
hostname: orchard
timezone: Europe/Berlin
users:
  - name: anna
    groups: [docker]
    sudo: ALL=(ALL) NOPASSWD:ALL
    passwd: "$6$saltsalt$d6rmjeyct5Owx2rCUPgTrWiSS8mki6fZnC0E2wPAt3ol12lVUcUhOznT9FKgqZw0iebOf6Zf.DTSRNiwlFkWR0"
    lock_passwd: false
    ssh_authorized_keys:
      - KEY
write_files:
  - path: /home/anna/note
    content: ZnJvbSB0aGUgY2FyZAo=
    encoding: b64
    owner: anna:anna
    permissions: "0640"
bootcmd:
  - echo boot >> /var/lib/rubus/console/boots
runcmd:
  - [sh, -c, "echo once >> /var/lib/rubus/console/onces"]
  - exit 3
apt:
  preserve_sources_list: true
rubus:
  kernel:
    sysctl:
      vm.swappiness: 7
"#;

const NETWORK_CONFIG: &str = "version: 2
ethernets:
  eth0:
    dhcp4: true
    addresses: [10.0.2.77/24]
";

fn json(node: &Node, command: &str) -> Value {
    serde_json::from_str(&node.ssh(command)).unwrap()
}

fn pid(node: &Node, service: &str) -> u64 {
    let services = json(node, "ros service list --json");
    let services = services.as_array().unwrap();
    let found = services.iter().find(|it| it["name"] == service).unwrap();
    assert_eq!(found["state"], "ready", "{service}");
    found["pid"].as_u64().unwrap()
}

fn wait_ready(node: &mut Node) {
    node.wait_ssh(3 * MINUTE);
    node.wait_ssh_command("ros os status --check", 3 * MINUTE);
}

fn can_log_in(node: &Node, user: &str) -> bool {
    node.try_ssh_as(user, "true").status.success()
}

fn eventually(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + MINUTE;
    while !done() {
        assert!(Instant::now() < end, "not within a minute: {what}");
        thread::sleep(Duration::from_millis(500));
    }
}

fn addresses(node: &Node) -> String {
    node.ssh("ip -brief address show eth0")
}

#[test]
fn a_node_is_set_up_by_files_on_its_card_and_changed_by_ros() {
    let folder = tempfile::tempdir().unwrap();
    let card = folder.path().join("card.img");
    fs::copy(image("qemu-virt"), &card).unwrap();
    let key = fs::read_to_string(ssh_key().with_extension("pub")).unwrap();
    write_to_card(&card, "user-data", &USER_DATA.replace("KEY", key.trim()));
    write_to_card(&card, "network-config", NETWORK_CONFIG);
    write_to_card(&card, "meta-data", "instance-id: first\n");
    let options = Options {
        state: Some(folder.path().join("state.qcow2")),
        ..Options::default()
    };
    let mut node = Node::boot(&card, &options);
    wait_ready(&mut node);
    the_card_counts(&mut node);
    changes_count_at_once(&mut node);
    wrong_changes_change_nothing(&node);

    // The plug is pulled right after a change.
    node.ssh("ros config set kernel.sysctl.vm.swappiness 9");
    node.cut_power();
    let mut node = Node::boot(&card, &options);
    wait_ready(&mut node);
    assert_eq!(node.ssh("cat /proc/sys/vm/swappiness"), "9\n");
    assert_eq!(node.ssh("ros config get timezone"), "Asia/Tokyo\n");
    assert!(node.ssh("date").contains("JST"));
    assert_eq!(node.ssh("hostname"), "meadow\n");
    let services = node.ssh("ros service list");
    let wifi = services.lines().find(|it| it.starts_with("wifi ")).unwrap();
    assert!(
        wifi.contains(" stopped ") && wifi.contains(" no "),
        "{wifi}"
    );
    assert!(addresses(&node).contains("10.0.2.88/24"));
    node.wait_ssh_command("test $(wc -l < /var/lib/rubus/console/boots) = 2", MINUTE);
    assert_eq!(node.ssh("cat /var/lib/rubus/console/onces"), "once\n");
    let said = node.try_ssh_as("bert", "id --name --user");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "bert\n");
}

fn the_card_counts(node: &mut Node) {
    assert_eq!(node.ssh("hostname"), "orchard\n");
    assert!(node.ssh("date").contains("CE"), "CET or CEST");
    assert_eq!(node.ssh("cat /proc/sys/vm/swappiness"), "7\n");
    let addresses = addresses(node);
    for address in ["10.0.2.15/24", "10.0.2.77/24"] {
        assert!(addresses.contains(address), "{addresses}");
    }
    let anna = |node: &Node, command: &str| {
        let output = node.try_ssh_as("anna", command);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command}: {error}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(anna(node, "sudo id --name --user"), "root\n");
    assert!(anna(node, "id --name --groups").contains("docker"));
    anna(node, "docker version");
    assert!(
        node.ssh("sudo grep ^anna: /etc/shadow")
            .starts_with("anna:$6$")
    );

    node.wait_ssh_command("test -s /var/lib/rubus/console/onces", MINUTE);
    assert_eq!(
        anna(node, "cat ~/note; stat -c %a:%U ~/note"),
        "from the card\n640:anna\n"
    );
    // A command that fails is told, and so is what is not supported.
    node.wait_ssh_command("ros logs console | grep -q 'runcmd.1.: ended with'", MINUTE);
    let status = node.ssh("ros os status");
    assert!(status.contains("apt"), "{status}");
    // Nobody but root reads what may be secret.
    assert!(!node.try_ssh("cat /run/rubus/config.json").status.success());
    let exported = node.ssh("ros config export");
    assert!(!exported.contains("$6$"), "{exported}");
    assert!(node.ssh("ros config export --private").contains("$6$"));
}

fn changes_count_at_once(node: &mut Node) {
    let before = ["console", "docker", "network", "ntp", "mdns"].map(|name| pid(node, name));

    // Exactly the services that a key concerns.
    let would = node.ssh("ros config set --dry-run ntp.servers 10.0.2.2");
    assert_eq!(would, "would restart ntp\n");
    assert_eq!(pid(node, "ntp"), before[3]);
    node.ssh("ros config set ntp.servers 10.0.2.2");
    assert_ne!(pid(node, "ntp"), before[3]);
    let sources = node.ssh("ros service exec ntp -- chronyc -n sources");
    assert!(sources.contains("10.0.2.2"), "{sources}");

    // Who is logged in stays so; who is new can log in.
    let key = fs::read_to_string(ssh_key().with_extension("pub")).unwrap();
    node.ssh(&format!(
        "ros config set users.bert.ssh_authorized_keys '{}'",
        key.trim()
    ));
    // The console reads them anew on its own time.
    eventually("bert can log in", || can_log_in(node, "bert"));
    let said = node.try_ssh_as("bert", "pwd; sudo -n true");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "/home/bert\n");
    assert!(!said.status.success(), "bert may not become root");
    node.ssh("ros config unset users.bert");
    eventually("bert is gone", || !can_log_in(node, "bert"));
    node.ssh(&format!(
        "ros config set users.bert.ssh_authorized_keys '{}'",
        key.trim()
    ));
    assert_eq!(pid(node, "console"), before[0]);

    // An address more, over the connection that this came by.
    node.ssh("ros config set network.interfaces.eth0.addresses 10.0.2.88/24");
    eventually("the other address is there", || {
        let now = addresses(node);
        now.contains("10.0.2.88/24") && !now.contains("10.0.2.77/24")
    });
    assert!(addresses(node).contains("10.0.2.15/24"));

    // The engine is told, and its containers go on.
    let container = node.ssh("docker run -d rubus/echoit:0.1.0");
    node.ssh("ros config set docker.registry_mirrors http://mirror.lan:5000");
    node.wait_ssh_command("docker info | grep -q http://mirror.lan:5000", 2 * MINUTE);
    assert_ne!(pid(node, "docker"), before[1]);
    let up = node.ssh(&format!(
        "docker inspect -f '{{{{.State.Running}}}} {{{{.RestartCount}}}}' {container}"
    ));
    assert_eq!(up, "true 0\n");

    // Names and zones are those of programs that start from now on.
    assert_eq!(node.ssh("ros config set timezone Asia/Tokyo"), "");
    assert!(node.ssh("date").contains("JST"));
    assert_eq!(pid(node, "mdns"), before[4]);
    let said = node.ssh("ros config set hostname meadow");
    assert_eq!(
        said,
        "mdns restarted\nnetwork restarted\nsyslog restarted\n"
    );
    assert_eq!(node.ssh("hostname; cat /etc/hostname"), "meadow\nmeadow\n");
    assert_eq!(node.ssh("grep meadow /etc/hosts"), "127.0.1.1\tmeadow\n");
    assert_eq!(node.ssh("docker info -f '{{.Name}}'"), "meadow\n");
    assert_eq!(pid(node, "console"), before[0]);

    services_are_turned_on_and_off(node);
    the_gateway_moves_to_another_port(node);
    logs_go_to_a_server(node);
}

fn the_gateway_moves_to_another_port(node: &mut Node) {
    node.ssh("ros config set gateway.port 8090");
    let health = node.ssh("curl -s http://127.0.0.1:8090/healthz");
    assert!(health.contains("\"status\":\"ok\""), "{health}");
    let refused = node.try_ssh("ros config set gateway.port 22");
    assert_eq!(refused.status.code(), Some(1));
    node.ssh("ros config unset gateway.port");
}

fn logs_go_to_a_server(node: &mut Node) {
    // 10.0.2.2 is the host, as the node sees it.
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(MINUTE)).unwrap();
    let port = server.local_addr().unwrap().port();
    node.ssh(&format!(
        "ros config set logging.remote udp://10.0.2.2:{port}"
    ));
    let mut message = [0; 2048];
    loop {
        let length = server.recv(&mut message).expect("a message");
        let text = String::from_utf8_lossy(&message[..length]);
        assert!(text.starts_with('<') && text.contains(">1 20"), "{text}");
        // Every login is a line.
        if text.contains(" meadow console - stderr - ") {
            break;
        }
    }
    node.ssh("ros config unset logging.remote");
}

fn services_are_turned_on_and_off(node: &mut Node) {
    let listed = |node: &Node| {
        let services = json(node, "ros service list --json");
        let services = services.as_array().unwrap();
        let ntp = services.iter().find(|it| it["name"] == "ntp").unwrap();
        (ntp["state"].clone(), ntp["enabled"].clone())
    };
    assert_eq!(node.ssh("ros service disable ntp"), "ntp stopped\n");
    assert_eq!(listed(node), ("stopped".into(), false.into()));
    node.ssh("ros os status --check");
    assert_eq!(
        node.ssh("ros config set services.ntp true"),
        "ntp started\n"
    );
    assert_eq!(listed(node), ("ready".into(), true.into()));
    node.ssh("ros service disable wifi");
    let inspected = json(node, "ros service inspect --json ntp");
    assert_eq!(inspected["definition"]["user"], "_chrony");
    assert_eq!(inspected["status"]["state"], "ready");
}

fn wrong_changes_change_nothing(node: &Node) {
    let before = node.ssh("ros config export --private");
    for (command, words) in [
        ("set hostnam x", "hostname"),
        ("set ssh.port 99999", "ssh.port"),
        ("set network.interfaces.eth0.gateway6 10.0.0.1", "gateway6"),
        ("set users.anna.password_hash hunter2", "password_hash"),
        ("unset proxy.http", "not set"),
    ] {
        let output = node.try_ssh(&format!("ros config {command}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains(words), "{command}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    assert_eq!(node.ssh("ros config export --private"), before);
}

#[test]
fn a_broken_file_on_the_card_does_not_stop_the_boot() {
    let folder = tempfile::tempdir().unwrap();
    let card = folder.path().join("card.img");
    fs::copy(image("qemu-virt"), &card).unwrap();
    write_to_card(&card, "user-data", "#cloud-config\nhostname: [\n");
    write_to_card(&card, "network-config", "version: 9\n");
    let mut node = Node::boot(&card, &Options::default());
    node.wait_ssh(3 * MINUTE);
    let status = node.ssh("ros os status");
    for word in ["user-data", "network-config"] {
        assert!(status.contains(word), "{status}");
    }
}
