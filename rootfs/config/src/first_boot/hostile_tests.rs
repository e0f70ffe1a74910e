//! Files that somebody made to do harm, or that a card garbled: whatever is in
//! them, reading ends soon and gives valid settings.

use std::time::{Duration, Instant};

use super::{Files, MOST_BYTES, read};
use crate::keys::Schema;
use crate::layers::check;

/// How long one file may take, on a busy machine without optimisation.
const LONGEST: Duration = Duration::from_secs(10);
/// How long files are changed at random.
const BUDGET: Duration = Duration::from_secs(3);

fn survives(schema: &Schema, name: &str, content: &[u8]) {
    let files = Files {
        contents: vec![(name.to_owned(), content.to_vec())],
        others: Vec::new(),
    };
    let begin = Instant::now();
    let found = read(schema, &files);
    assert!(begin.elapsed() < LONGEST, "{name}: {:?}", begin.elapsed());
    assert!(check(schema, &found.settings).is_ok(), "{name}");
    assert!(toml::to_string(&found).is_ok(), "{name}: it cannot be kept");
    for line in found.notes.iter().chain(&found.unsupported) {
        assert!(line.chars().count() <= 300 && !line.contains(char::is_control));
    }
}

#[test]
fn files_that_are_made_to_grow_are_refused() {
    let schema = Schema::default();
    let mut bomb = String::from("#cloud-config\na: &a [x, x, x, x, x, x, x, x, x]\n");
    for (one, next) in ('a'..'k').zip('b'..) {
        bomb += &format!("{next}: &{next} [*{one}, *{one}, *{one}, *{one}, *{one}, *{one}]\n");
    }
    let deep = format!("#cloud-config\nrubus: {}", "[".repeat(100_000));
    let deep_maps = "a: {".repeat(10_000);
    let users: String = (0..20_000).map(|i| format!("- name: u{i}\n")).collect();
    let keys: String = (0..10_000).map(|i| format!("k{i}: 1\n")).collect();
    let files: String = (0..5_000).map(|i| format!("- path: /f{i}\n")).collect();
    let long = "x".repeat(MOST_BYTES);
    for text in [
        bomb,
        deep,
        deep_maps,
        format!("#cloud-config\nusers:\n{users}"),
        format!("#cloud-config\n{keys}"),
        format!("#cloud-config\nwrite_files:\n{files}"),
        format!("#cloud-config\nhostname: {}", &long[..200_000]),
        format!("{long}{long}"),
    ] {
        for name in super::NAMES {
            survives(&schema, name, text.as_bytes());
        }
    }
}

/// A small generator of numbers; the same ones in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or_default() % bound.max(1)
    }
}

#[test]
fn files_that_are_garbled_do_no_harm() {
    const SEEDS: [(&str, &str); 4] = [
        (
            "user-data",
            "#cloud-config\nhostname: a\nusers:\n- default\n- name: anna\n  groups: [sudo, x]\n\
             \x20 lock_passwd: false\n  passwd: $6$salt$0123456789abcdefghij\n  sudo: ALL=(ALL) ALL\n\
             \x20 ssh_authorized_keys: [ssh-rsa AAAA]\nchpasswd: {list: 'a:b', expire: false}\n\
             write_files:\n- {path: /x, content: y, permissions: 0644, encoding: b64}\n\
             runcmd: [[a, 1], b]\nntp: {servers: [x]}\nrpi: {interfaces: {serial: {console: true}}}\n\
             rubus: {ssh: {port: 23}, network: {interfaces: {eth0: {dhcp: true}}}}\n",
        ),
        (
            "network-config",
            "version: 2\nethernets:\n  eth0: {addresses: [10.0.0.2/8, {10.0.0.3/8: {label: x}}],\n\
             \x20   gateway4: 10.0.0.1, routes: [{to: default, via: 'fe80::1'}], match: {name: eth0}}\n\
             wifis: {wlan0: {access-points: {a: {auth: {password: '12345678'}}}}}\nvlans: {v: {id: 1, link: eth0}}\n",
        ),
        (
            "network-config",
            "version: 1\nconfig:\n- {type: physical, name: eth0, mtu: 1500, subnets: [{type: static, \
             address: 10.0.0.2, netmask: 255.0.0.0, gateway: 10.0.0.1, routes: [{network: 1.0.0.0, \
             netmask: 8, gateway: 10.0.0.3}]}]}\n- {type: vlan, vlan_id: 3, vlan_link: e, name: f}\n",
        ),
        (
            "meta-data",
            "instance-id: i-1\nlocal-hostname: a.b\npublic-keys: [ssh-rsa AAAA]\n",
        ),
    ];
    const PIECES: [&[u8]; 20] = [
        b"\0",
        b"\xFF",
        b"\n",
        b"  ",
        b": ",
        b"- ",
        b"&a ",
        b"*a",
        b"<<: *a",
        b"{",
        b"}",
        b"[",
        b"]",
        b"!!binary ",
        b"|\n",
        b"\"",
        b"'",
        b"null",
        b"-1",
        b"1e999",
    ];
    let schema = Schema::default();
    let mut numbers = Numbers(0x2545_F491_4F6C_DD1D);
    let begin = Instant::now();
    while begin.elapsed() < BUDGET {
        let (name, text) = SEEDS[numbers.below(SEEDS.len())];
        let mut content = text.as_bytes().to_vec();
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(content.len());
            match numbers.below(5) {
                0 => content.truncate(at),
                1 => {
                    let end = (at + numbers.below(20)).min(content.len());
                    content.drain(at..end);
                }
                2 => {
                    let piece = PIECES[numbers.below(PIECES.len())];
                    content.splice(at..at, piece.iter().copied());
                }
                3 => {
                    let end = (at + numbers.below(40)).min(content.len());
                    let part = content[at..end].to_vec();
                    let to = numbers.below(content.len());
                    content.splice(to..to, part);
                }
                _ if !content.is_empty() => {
                    content[at] = u8::try_from(numbers.below(256)).unwrap_or_default();
                }
                _ => {}
            }
        }
        survives(&schema, name, &content);
    }
}
