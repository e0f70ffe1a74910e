//! What the node says of itself, for the portal and the scaler.

use std::{fs, path::Path};

use serde::Serialize;

/// How the node is. What cannot be read is not known.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Node {
    name: Option<String>,
    /// Seconds since it started.
    uptime: Option<u64>,
    processors: usize,
    /// Processes that run or want to, over 1, 5 and 15 minutes.
    load: Option<[f64; 3]>,
    memory: Option<Space>,
    /// Where the state of the gateway is.
    disk: Option<Space>,
    /// Degrees Celsius, where it is hottest.
    temperature: Option<f64>,
}

/// Bytes that there are, and those of them that can be had.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Space {
    pub(crate) total: u64,
    pub(crate) available: u64,
}

impl Node {
    /// Reads it from the files below `root`, which is `/` on a node.
    pub(crate) fn read(root: &Path, state: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).ok();
        let name = text("proc/sys/kernel/hostname");
        Self {
            name: name
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty()),
            uptime: text("proc/uptime").and_then(|text| uptime(&text)),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            load: text("proc/loadavg").and_then(|text| load(&text)),
            memory: text("proc/meminfo").and_then(|text| memory(&text)),
            disk: disk(state),
            temperature: temperature(&root.join("sys/class/thermal")),
        }
    }
}

/// The memory of `/proc/meminfo`.
pub(crate) fn memory(text: &str) -> Option<Space> {
    let amount = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        kibibytes.checked_mul(1024)
    };
    Some(Space {
        total: amount("MemTotal:")?,
        available: amount("MemAvailable:")?,
    })
}

fn uptime(text: &str) -> Option<u64> {
    let (seconds, _) = text.split_once('.')?;
    seconds.parse().ok()
}

fn load(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split(' ').map_while(|number| number.parse().ok());
    Some([numbers.next()?, numbers.next()?, numbers.next()?])
}

fn disk(folder: &Path) -> Option<Space> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(Space {
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        available: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}

fn temperature(zones: &Path) -> Option<f64> {
    fs::read_dir(zones)
        .ok()?
        .filter_map(|zone| {
            let text = fs::read_to_string(zone.ok()?.path().join("temp")).ok()?;
            text.trim().parse::<i32>().ok()
        })
        .max()
        .map(|millidegrees| f64::from(millidegrees) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:         944296 kB\nMemFree:          102400 kB\n\
                           MemAvailable:     512000 kB\nBuffers:           10000 kB\n";

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_files_of_a_pi_are_understood() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for (path, text) in [
            ("proc/sys/kernel/hostname", "node1\n"),
            ("proc/uptime", "93784.41 371204.02\n"),
            ("proc/loadavg", "0.52 1.04 0.98 2/189 4711\n"),
            ("proc/meminfo", MEMINFO),
            ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
            ("sys/class/thermal/thermal_zone1/temp", "51000\n"),
            ("sys/class/thermal/cooling_device0/type", "gpio-fan\n"),
        ] {
            write(root, path, text);
        }
        let node = Node::read(root, root);
        let disk = node.disk.unwrap();
        assert!(disk.total >= disk.available && disk.total > 0, "{disk:?}");
        let expected = Node {
            name: Some("node1".to_owned()),
            uptime: Some(93784),
            processors: node.processors,
            load: Some([0.52, 1.04, 0.98]),
            memory: Some(Space {
                total: 944_296 * 1024,
                available: 512_000 * 1024,
            }),
            disk: Some(disk),
            temperature: Some(51.0),
        };
        assert_eq!(node, expected);
    }

    #[test]
    fn what_cannot_be_read_is_not_known() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let unknown = |node: Node| {
            let others = (node.name, node.uptime, node.load, node.memory);
            assert_eq!(others, (None, None, None, None));
            assert_eq!(node.temperature, None);
        };
        let node = Node::read(root, &root.join("none"));
        assert_eq!(node.disk, None);
        unknown(node);

        for (path, text) in [
            ("proc/sys/kernel/hostname", "\n"),
            ("proc/uptime", "soon"),
            ("proc/loadavg", "0.52 1.04"),
            ("proc/meminfo", "MemTotal: 99999999999999999999 kB\n"),
            ("sys/class/thermal/thermal_zone0/temp", "hot"),
        ] {
            write(root, path, text);
        }
        unknown(Node::read(root, root));
        let overflow = "MemTotal: 18446744073709551615 kB\nMemAvailable: 1 kB\n";
        assert_eq!(memory(overflow), None);
    }
}
