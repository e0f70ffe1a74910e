//! What the node says of itself. `ros` runs in the console, whose root is not
//! that of the node; the node's is behind process 1.

use std::{fs, io, path::Path};

use anyhow::Context;
use rubus_config::{image::ImageInfo, paths};
use serde::Serialize;

/// The image that runs.
pub(crate) fn image() -> anyhow::Result<ImageInfo> {
    let path = paths::IMAGE_INFO;
    let text =
        read_of_node(path).with_context(|| format!("cannot read {path}; is this a Rubus node"))?;
    serde_json::from_str(&text).with_context(|| format!("cannot read {path}"))
}

fn read_of_node(path: &str) -> io::Result<String> {
    fs::read_to_string(format!("/proc/1/root{path}")).or_else(|_| fs::read_to_string(path))
}

/// The slot that runs, by the partition that is mounted as one.
pub(crate) fn slot() -> Option<char> {
    let mounts = fs::read_to_string("/proc/1/mountinfo").ok()?;
    slot_of(&mounts)
}

/// Slots A and B are partitions 2 and 3 of their disk.
fn slot_of(mounts: &str) -> Option<char> {
    let line = mounts
        .lines()
        .find(|line| line.split(' ').nth(4) == Some(paths::SLOT))?;
    let (_, behind) = line.split_once(" - ")?;
    let device = behind.split(' ').nth(1)?;
    match device.chars().next_back()? {
        '2' => Some('A'),
        '3' => Some('B'),
        _ => None,
    }
}

/// The release of the kernel.
pub(crate) fn kernel() -> String {
    let name = rustix::system::uname();
    name.release().to_string_lossy().into_owned()
}

/// Microseconds since the kernel started.
pub(crate) fn uptime_micros() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split(' ').next().and_then(|it| it.parse::<f64>().ok());
    // Hundredths of a second that are never negative.
    seconds.map_or(0, |it| (it * 1e6) as u64)
}

/// Memory of the node in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    pub(crate) total: u64,
    pub(crate) available: u64,
}

pub(crate) fn memory() -> Option<Memory> {
    memory_of(&fs::read_to_string(Path::new("/proc/meminfo")).ok()?)
}

fn memory_of(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line
            .trim_start_matches(':')
            .split_whitespace()
            .next()?
            .parse()
            .ok()?;
        kilobytes.checked_mul(1024)
    };
    Some(Memory {
        total: field("MemTotal")?,
        available: field("MemAvailable")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_is_told_by_its_partition() {
        let line = |device: &str| {
            format!(
                "20 1 254:2 / / ro - squashfs /dev/loop0 ro\n31 20 254:2 / /run/rubus/slot ro,nosuid shared:5 - vfat {device} ro\n"
            )
        };
        assert_eq!(slot_of(&line("/dev/mmcblk0p2")), Some('A'));
        assert_eq!(slot_of(&line("/dev/vda3")), Some('B'));
        assert_eq!(slot_of(&line("/dev/vda1")), None);
        assert_eq!(slot_of(""), None);
    }

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let text = "MemTotal:         994620 kB\nMemFree:  1 kB\nMemAvailable:     900000 kB\n";
        let expected = Memory {
            total: 994_620 * 1024,
            available: 900_000 * 1024,
        };
        assert_eq!(memory_of(text), Some(expected));
        assert_eq!(memory_of("MemTotal: x kB"), None);
    }
}
