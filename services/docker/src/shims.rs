//! Shims: the processes by which containers outlive the engine. A containerd of
//! another version does not understand those that are left over.

use std::{
    fs,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// What shims are called.
const NAME: &str = "containerd-shim-runc-v2";
/// How long they may take to end after their containers have.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until the shims of an engine have ended, and ends those that stay: on a
/// slow machine dockerd does not wait for all of them. Does nothing where
/// containers live on.
pub(crate) fn end(configuration: &Path) {
    let text = fs::read(configuration).unwrap_or_default();
    let merged: Value = serde_json::from_slice(&text).unwrap_or_default();
    let Some(address) = merged["containerd"].as_str() else {
        return;
    };
    if merged["live-restore"] == true {
        return;
    }
    let end = Instant::now() + PATIENCE;
    loop {
        let left = all(address);
        if left.is_empty() {
            return;
        }
        if Instant::now() >= end {
            eprintln!(
                "ending {} containers that did not end by themselves",
                left.len()
            );
            left.into_iter().for_each(end_one);
            return;
        }
        sleep(PAUSE);
    }
}

/// Ends a shim and the first processes of its containers, with which the others
/// end.
fn end_one(shim: i32) {
    let children = fs::read_to_string(format!("/proc/{shim}/task/{shim}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_ascii_whitespace();
    for pid in children.filter_map(|it| it.parse().ok()).chain([shim]) {
        // It may have ended by now.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// The shims that belong to the containerd at this address.
fn all(address: &str) -> Vec<i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            is_shim_of(address, &line)
        })
        .collect()
}

/// Whether a command line is that of a shim of this containerd.
fn is_shim_of(address: &str, line: &[u8]) -> bool {
    let mut words = line.split(|&byte| byte == 0);
    let program = words.next().unwrap_or_default();
    program.ends_with(NAME.as_bytes()) && words.any(|word| word == address.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shims_are_known_by_their_name_and_their_containerd() {
        let of = |line: &[u8]| is_shim_of("/run/a.sock", line);
        assert!(of(
            b"/usr/bin/containerd-shim-runc-v2\0-id\0x\0-address\0/run/a.sock\0"
        ));
        assert!(!of(
            b"/usr/bin/containerd-shim-runc-v2\0-address\0/run/b.sock\0"
        ));
        assert!(!of(b"/usr/bin/containerd\0-address\0/run/a.sock\0"));
        assert!(!of(b""));
    }
}
