//! What is taken and what is not, form by form.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn taken<T: DeserializeOwned>(values: &[Value]) {
    for value in values {
        let result = serde_json::from_value::<T>(value.clone());
        assert!(result.is_ok(), "{value}: {:?}", result.err());
    }
}

fn refused<T: DeserializeOwned>(values: &[Value]) {
    for value in values {
        assert!(
            serde_json::from_value::<T>(value.clone()).is_err(),
            "{value}"
        );
    }
}

/// Text that no form of one line may take.
fn hostile() -> Vec<Value> {
    ["", "\n", "a\nb", "\0", "\u{1b}[2J", "../../etc/passwd\n"]
        .map(Value::from)
        .to_vec()
}

#[test]
fn host_names_are_one_label() {
    taken::<Hostname>(&["a", "node-1", "N1", "1"].map(Value::from));
    refused::<Hostname>(&["-a", "a-", "a.b", "a b", "ä"].map(Value::from));
    refused::<Hostname>(&[json!("a".repeat(64)), json!(5)]);
    refused::<Hostname>(&hostile());
}

#[test]
fn time_zones_stay_in_their_folder() {
    taken::<Timezone>(
        &[
            "UTC",
            "Europe/Berlin",
            "Etc/GMT+5",
            "America/Port-au-Prince",
        ]
        .map(Value::from),
    );
    refused::<Timezone>(&["/etc/passwd", "../x", "Europe/", "Europe/../x", "a b"].map(Value::from));
    refused::<Timezone>(&hostile());
}

#[test]
fn user_names_are_what_useradd_takes() {
    taken::<UserName>(&["anna", "_apt", "user-1"].map(Value::from));
    refused::<UserName>(&["Anna", "1a", "a:b", "a b", "-a"].map(Value::from));
    refused::<UserName>(&hostile());
}

#[test]
fn an_ssh_key_is_one_line_of_authorized_keys() {
    taken::<SshKey>(
        &[
            "ssh-ed25519 AAAAC3Nz",
            "ssh-rsa AAAAB3Nz== me@home",
            "sk-ssh-ed25519@openssh.com AAAA x",
            "from=\"10.0.0.0/8\",no-pty ecdsa-sha2-nistp256 AAAA c",
        ]
        .map(Value::from),
    );
    refused::<SshKey>(
        &[
            "hello",
            "ssh-ed25519",
            "# ssh-ed25519 AAAA",
            "ssh-ed25519 AAAA\nssh-rsa BBBB",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
        ]
        .map(Value::from),
    );
    refused::<SshKey>(&hostile());
}

#[test]
fn only_hashes_are_taken_as_passwords_and_errors_do_not_show_them() {
    taken::<PasswordHash>(
        &[
            "$6$salt$qHNZ8Pd2CHqU0lKxBYRJ3m",
            "$y$j9T$abcdefgh$0123456789abcdef",
            "$5$rounds=5000$salt$hash0123456789",
        ]
        .map(Value::from),
    );
    refused::<PasswordHash>(
        &["secret", "$6$short", "$1$md5$0123456789012345678", "*", "!"].map(Value::from),
    );
    refused::<PasswordHash>(&["$6$salt$hash:0:0:/root:/bin/sh0123"].map(Value::from));
    let error = PasswordHash::try_from("hunter2hunter2").unwrap_err();
    assert!(!error.contains("hunter2"), "{error}");
    let error = WifiPassword::try_from("hunter2").unwrap_err();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let password = WifiPassword::try_from("correct horse").unwrap();
    assert!(!format!("{password:?}").contains("horse"));
    let proxy = ProxyAddress::try_from("http://me:hunter2@proxy:3128").unwrap();
    assert!(!format!("{proxy:?}").contains("hunter2"));
}

#[test]
fn wifi_takes_phrases_and_keys() {
    taken::<WifiPassword>(&[
        json!("12345678"),
        json!("a b c d e f"),
        json!("0f".repeat(32)),
    ]);
    refused::<WifiPassword>(&[json!("1234567"), json!("x".repeat(64)), json!("pässword1")]);
    taken::<Ssid>(&["home", "Käsebrot", "a b"].map(Value::from));
    refused::<Ssid>(&[json!(""), json!("x".repeat(33))]);
    taken::<Country>(&["DE", "US"].map(Value::from));
    refused::<Country>(&["de", "D", "DEU"].map(Value::from));
}

#[test]
fn paths_do_not_climb() {
    taken::<AbsolutePath>(&["/a", "/home/rubus/.config/x", "/a b"].map(Value::from));
    refused::<AbsolutePath>(&["a", "/", "/a/../b", "/a//b", "/a/", "/./a"].map(Value::from));
    refused::<AbsolutePath>(&hostile());
    taken::<FunctionPath>(&["/dev/i2c-*", "/home/rubus/a b"].map(Value::from));
    refused::<FunctionPath>(&["dev/null", "/a,/b", "/a:/b", "/a/../b"].map(Value::from));
    taken::<Shell>(&["/bin/bash", "/usr/bin/nu"].map(Value::from));
    refused::<Shell>(&["bash", "/bin/bash:x"].map(Value::from));
    refused::<Shell>(&hostile());
    taken::<DataFolder>(&["/data/docker", "/data/ssd/docker", "/data/rubus2"].map(Value::from));
    refused::<DataFolder>(
        &[
            "/data",
            "/etc",
            "/data/rubus",
            "/data/home/x",
            "/data/../etc",
            "/database",
        ]
        .map(Value::from),
    );
    refused::<DataFolder>(&hostile());
}

#[test]
fn interfaces_and_sysctls_are_names_the_kernel_knows() {
    taken::<InterfaceName>(&["eth0", "eth0.10", "br-lan", "enx001122334455"].map(Value::from));
    refused::<InterfaceName>(&["..", "a/b", "a b", "0123456789abcdef", "ä"].map(Value::from));
    taken::<SysctlName>(&["vm.swappiness", "net.ipv4.conf.eth0/10.rp_filter"].map(Value::from));
    refused::<SysctlName>(
        &["vm", "..", "vm..x", "a.b/../c", "/etc.passwd", "a.b c"].map(Value::from),
    );
    taken::<SysctlValue>(&[json!(1), json!("1"), json!("4096 87380"), json!(-1)]);
    refused::<SysctlValue>(&[json!(""), json!("1\n2"), json!(true), json!([1])]);
    taken::<ModuleName>(&["i2c-dev", "br_netfilter"].map(Value::from));
    refused::<ModuleName>(&["../x", "a b", ""].map(Value::from));
}

#[test]
fn addresses_have_the_length_of_their_network() {
    taken::<Cidr>(
        &[
            "10.0.0.1/8",
            "0.0.0.0/0",
            "fd00::1/64",
            "::/0",
            "1.2.3.4/32",
        ]
        .map(Value::from),
    );
    refused::<Cidr>(
        &[
            "10.0.0.1",
            "10.0.0.1/33",
            "10.0.0/8",
            "::1/129",
            "1.2.3.4/+8",
            "/8",
        ]
        .map(Value::from),
    );
    let inside = |network: &str, address: &str| {
        Cidr::try_from(network.to_owned())
            .unwrap()
            .contains(address.parse().unwrap())
    };
    assert!(inside("192.168.1.5/24", "192.168.1.1"));
    assert!(!inside("192.168.1.5/24", "192.168.2.1"));
    assert!(inside("0.0.0.0/0", "8.8.8.8"));
    assert!(!inside("10.0.0.1/32", "10.0.0.2"));
    assert!(inside("fd00::1/64", "fd00::2"));
    assert!(inside("::/0", "fd00::2"));
    assert!(!inside("fd00::1/128", "fd00::2"));
    assert!(!inside("fd00::1/64", "10.0.0.1"));
}

#[test]
fn hosts_and_addresses_of_the_web() {
    taken::<TimeServer>(&["pool.ntp.org", "10.0.0.1", "fd00::1", "time"].map(Value::from));
    refused::<TimeServer>(&["a b", "http://x", "-x", "x..y"].map(Value::from));
    taken::<WebAddress>(
        &[
            "http://registry.lan:5000",
            "https://mirror.gcr.io/",
            "http://[fd00::1]:80/x",
        ]
        .map(Value::from),
    );
    refused::<WebAddress>(
        &[
            "registry.lan",
            "ftp://x",
            "http://",
            "http://x:0",
            "http://x:99999",
            "http://a:b@c/",
        ]
        .map(Value::from),
    );
    taken::<ProxyAddress>(
        &[
            "http://proxy:3128",
            "http://u:p@proxy:3128/",
            "socks5://10.0.0.1:1080",
        ]
        .map(Value::from),
    );
    refused::<ProxyAddress>(&["proxy:3128", "http://a b", "http://u:p@"].map(Value::from));
    taken::<ProxyException>(
        &["localhost", ".lan", "*.lan", "10.0.0.0/8", "*", "x:80"].map(Value::from),
    );
    refused::<ProxyException>(&["a,b", "a b", ""].map(Value::from));
    taken::<Registry>(&["registry.lan:5000", "10.0.0.0/8", "[::1]:5000"].map(Value::from));
    refused::<Registry>(&["http://x", "x:", ""].map(Value::from));
}

#[test]
fn numbers_have_bounds_and_sizes_have_units() {
    taken::<Within<1, 4094>>(&[json!(1), json!(4094)]);
    refused::<Within<1, 4094>>(&[json!(0), json!(4095), json!(-1), json!("5"), json!(1.5)]);
    taken::<Size>(&["10M", "512", "1G"].map(Value::from));
    refused::<Size>(&["", "M", "-1", "1.5G", "64 M", "9999999999G"].map(Value::from));
    taken::<Period>(&["500ms", "10s", "2m", "1h"].map(Value::from));
    refused::<Period>(&["10", "s", "1d", ""].map(Value::from));
    taken::<Mode>(&["0644", "755", "01777"].map(Value::from));
    refused::<Mode>(&["0844", "+644", "77777", "rw"].map(Value::from));
    taken::<Owner>(&["root:root", "rubus", "1000:1000"].map(Value::from));
    refused::<Owner>(&["root:", ":x", "a:b:c", ""].map(Value::from));
}

#[test]
fn a_line_of_config_txt_stays_one_line_in_its_section() {}

#[test]
fn syslog_servers_are_a_protocol_and_a_host() {
    taken::<SyslogServer>(
        &[
            "udp://10.0.0.1",
            "tcp://logs.lan:601",
            "udp://[fd00::1]:514",
            "tcp://[fd00::1]",
        ]
        .map(Value::from),
    );
    refused::<SyslogServer>(
        &[
            "10.0.0.1",
            "http://10.0.0.1",
            "udp://",
            "udp://a:0",
            "udp://a/b",
            "tcp://a:x",
            "tcp://anna@a",
        ]
        .map(Value::from),
    );
    refused::<SyslogServer>(&hostile());
}

#[test]
fn lines_of_the_firmware_are_one_name_and_one_value() {
    taken::<FirmwareLine>(&["gpu_mem=32", "hdmi_mode:1=16", "over_voltage=-2"].map(Value::from));
    refused::<FirmwareLine>(
        &[
            "gpu_mem", "gpu_mem=", "=1", "[all]", "# x=1", "a=1 b", "Gpu=1", "a=1#",
        ]
        .map(Value::from),
    );
    refused::<FirmwareLine>(&[json!(format!("a={}", "x".repeat(95)))]);
    refused::<FirmwareLine>(&hostile());
}
