//! What an image has when it is asked to: the console with Debian's apt, which
//! installs, and what it installed stays; and the services that are optional.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use rubus_tests::{
    image::image_with,
    node::{Node, Options},
    tools::must,
};

const MINUTE: Duration = Duration::from_secs(60);

const CONTROL: &str = "Package: rubus-example\nVersion: 1.0\nArchitecture: all\nDepends: adduser\n\
    Maintainer: Nobody <nobody@example.org>\nDescription: An example\n";

const OPTIONAL: &str = "[services]\nregistry = true\nnode-exporter = true\n";
/// An image in the registry of the node.
const IMAGE: &str = "127.0.0.1:5000/test/echoit:1";

/// Makes an archive of one package with a program, a configuration file and a script that makes
/// a system user, as packages of daemons do.
fn make_archive(folder: &Path) {
    let root = folder.join("root");
    for (path, text) in [
        ("DEBIAN/control", CONTROL),
        (
            "DEBIAN/postinst",
            "#!/bin/sh\nset -e\nadduser --system --group --quiet rubus-example\n\
             invoke-rc.d rubus-example start\n",
        ),
        ("DEBIAN/conffiles", "/etc/rubus-example.conf\n"),
        ("etc/rubus-example.conf", "color = blue\n"),
        (
            "etc/init.d/rubus-example",
            "#!/bin/sh\ntouch /run/rubus-example-started\n",
        ),
        ("usr/bin/rubus-example", "#!/bin/sh\necho it works\n"),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    for path in [
        "DEBIAN/postinst",
        "etc/init.d/rubus-example",
        "usr/bin/rubus-example",
    ] {
        must(Command::new("chmod").arg("755").arg(root.join(path)));
    }
    let file = folder.join("rubus-example.deb");
    must(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "--build"])
            .args([&root, &file]),
    );
    let size = fs::metadata(&file).unwrap().len();
    let sums = must(Command::new("sha256sum").arg(&file));
    let sum = sums.split(' ').next().unwrap();
    let entry = format!("{CONTROL}Filename: ./rubus-example.deb\nSize: {size}\nSHA256: {sum}\n");
    fs::write(folder.join("Packages"), entry).unwrap();
}

/// Serves a folder to machines; returns the port.
fn serve(folder: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request: Vec<String> = BufReader::new(&stream)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            let path = request.first().and_then(|line| line.split(' ').nth(1));
            let path = path.unwrap_or_default().trim_start_matches(['/', '.']);
            let (status, body) = match fs::read(folder.join(path)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
            );
            // A client that hangs up is no concern of the server's.
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    port
}

/// Services that are in the image because it was asked to have them run.
fn optional_services_run(node: &mut Node) {
    for name in ["registry", "node-exporter"] {
        let ready = format!("ros service list | grep -q '^{name} *ready'");
        node.wait_ssh_command(&ready, 2 * MINUTE);
    }
    let metrics = node.ssh("curl --fail --silent http://127.0.0.1:9100/metrics");
    for metric in [
        "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}",
        "node_memory_MemAvailable_bytes",
        "node_network_receive_bytes_total{device=\"eth0\"}",
        "mountpoint=\"/data\"}",
        &format!("nodename=\"{}\"", node.ssh("hostname").trim()),
    ] {
        assert!(metrics.contains(metric), "no {metric} in {metrics}");
    }
    // It does not see that one, and would tell the size of something else.
    assert!(!metrics.contains("mountpoint=\"/home\""), "{metrics}");
    // Nor does a request make it complain.
    let said = || node.ssh("ros logs node-exporter");
    let before = said();
    node.ssh("curl --fail --silent http://127.0.0.1:9100/metrics");
    assert_eq!(said(), before);
}

#[test]
fn what_apt_installs_stays_over_a_restart_and_so_does_what_is_optional() {
    let folder = tempfile::tempdir().unwrap();
    make_archive(folder.path());
    let config = folder.path().join("node.toml");
    fs::write(&config, OPTIONAL).unwrap();
    let port = serve(folder.path().to_path_buf());
    let options = Options {
        state: Some(folder.path().join("state.qcow2")),
        ..Options::default()
    };
    let config = config.to_str().unwrap();
    let asked = ["--console", "debian", "--config", config];
    let image = image_with("out-debian", "qemu-virt", &asked);
    let mut node = Node::boot(&image, &options);
    node.wait_ssh(3 * MINUTE);
    assert!(node.ssh("cat /etc/os-release").contains("ID=debian"));
    assert!(node.ssh("dpkg --audit").is_empty());
    node.ssh("sudo apt-get check");
    node.wait_ssh_command("docker version", 3 * MINUTE);
    // Debian's own archive may be out of reach here.
    node.ssh(&format!(
        "sudo mv /etc/apt/sources.list.d/debian.sources /root/ &&
         echo 'deb [trusted=yes] http://10.0.2.2:{port}/ ./' | sudo tee /etc/apt/sources.list &&
         sudo apt-get update && sudo apt-get install --yes rubus-example"
    ));
    let installed = |node: &Node| {
        assert_eq!(node.ssh("rubus-example").trim(), "it works");
        assert!(
            node.ssh("getent passwd rubus-example")
                .contains(":/nonexistent:")
        );
        assert!(
            node.ssh("dpkg --list rubus-example")
                .contains("ii  rubus-example")
        );
    };
    installed(&node);
    // Daemons are not started here.
    assert!(
        !node
            .try_ssh("test -e /run/rubus-example-started")
            .status
            .success()
    );
    node.ssh("sudo sed -i s/blue/green/ /etc/rubus-example.conf");

    // People come and go, and packages' users stay.
    node.ssh("sudo ros config set users.anna.sudo no");
    node.wait_ssh_command("id anna", MINUTE);
    assert!(
        node.ssh("getent passwd rubus-example")
            .contains(":/nonexistent:")
    );
    let numbers = node.ssh("id -u anna; id -u rubus-example");

    optional_services_run(&mut node);
    for name in ["registry", "node-exporter"] {
        node.ssh(&format!("ros service disable {name}"));
        node.ssh(&format!("ros service enable {name}"));
    }
    // The gateway loads it once the engine answers.
    node.wait_ssh_command("docker image inspect rubus/echoit:0.1.0", 3 * MINUTE);
    node.ssh(&format!(
        "docker tag rubus/echoit:0.1.0 {IMAGE} && docker push --quiet {IMAGE} && docker rmi {IMAGE}"
    ));

    // The next boot has it all.
    let boot = node.ssh("cat /proc/sys/kernel/random/boot_id");
    // The connection may end before the answer comes.
    let _ = node.try_ssh("sudo ros os reboot");
    let other = format!("! grep -q {} /proc/sys/kernel/random/boot_id", boot.trim());
    node.wait_ssh_command(&other, 4 * MINUTE);
    installed(&node);
    assert_eq!(
        node.ssh("cat /etc/rubus-example.conf").trim(),
        "color = green"
    );
    assert_eq!(node.ssh("id -u anna; id -u rubus-example"), numbers);
    optional_services_run(&mut node);
    node.wait_ssh_command("docker version", 3 * MINUTE);
    node.ssh(&format!("docker pull --quiet {IMAGE}"));
    node.ssh("sudo apt-get purge --yes rubus-example");
    assert!(
        !node
            .try_ssh("test -e /etc/rubus-example.conf")
            .status
            .success()
    );
    node.ssh("sudo ros config unset users.anna");
    node.wait_ssh_command("! id anna", MINUTE);

    // A time zone is a link that tzdata may replace.
    let link = node.ssh("readlink /etc/localtime");
    assert_eq!(link.trim(), "/usr/share/zoneinfo/UTC");
    node.cut_power();
}
