//! What the node says of itself, read from its own filesystem.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use rubus_config::image::ImageInfo;
use rubus_config::node::Node;
use rubus_config::paths;
use rubus_config::report::Report;
use rubus_config::trial::Trial;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// The root of PID 1: the node's own filesystem, also from inside a console,
/// which shares the node's process ids.
pub(crate) const ROOT: &str = "/proc/1/root";
/// What PID 1 of a Rubus node is.
const INIT: &str = "/usr/sbin/init";

/// The node, by the root of its filesystem.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    root: PathBuf,
}

/// One of the two versions on the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Slot {
    /// Partition 2.
    A,
    /// Partition 3.
    B,
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// What is there.
    pub(crate) total: u64,
    /// What programs could not get any more.
    pub(crate) used: u64,
}

/// A filesystem, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Disk {
    /// Its size.
    pub(crate) total: u64,
    /// What files take.
    pub(crate) used: u64,
    /// What services can still write.
    pub(crate) free: u64,
}

impl Host {
    /// The node whose filesystem is at `root`.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// What the image says of itself.
    pub(crate) fn image(&self) -> Result<ImageInfo> {
        let text = self.read(paths::IMAGE_INFO).with_context(|| {
            format!(
                "cannot read {}; `ros os` works on a Rubus node only",
                paths::IMAGE_INFO
            )
        })?;
        serde_json::from_str(&text).map_err(|e| {
            anyhow!(
                "{} is damaged ({e}); write the image to the card again",
                paths::IMAGE_INFO
            )
        })
    }

    /// What became of the configuration at boot, when that is known.
    pub(crate) fn configuration(&self) -> Option<Report> {
        let text = self.read(paths::CONFIG_REPORT).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// What is on trial; none as well when that cannot be told.
    pub(crate) fn trial(&self) -> Option<Trial> {
        Node::new(&self.root).trial().ok().flatten()
    }

    /// The slot that runs, when it can be told.
    pub(crate) fn slot(&self) -> Option<Slot> {
        let device = mounted_device(&self.read("/proc/1/mountinfo").ok()?, paths::SLOT)?.to_owned();
        let number = self
            .read(&format!("/sys/dev/block/{device}/partition"))
            .ok()?;
        match number.trim() {
            "2" => Some(Slot::A),
            "3" => Some(Slot::B),
            _ => None,
        }
    }

    /// The memory of the node.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let text = self
            .read("/proc/meminfo")
            .context("cannot read /proc/meminfo")?;
        memory(&text).context("/proc/meminfo does not tell the memory")
    }

    /// The data partition.
    pub(crate) fn data(&self) -> Result<Disk> {
        let stat = rustix::fs::statvfs(self.inside(paths::DATA))
            .with_context(|| format!("cannot ask for the space on {}", paths::DATA))?;
        let size = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Disk {
            total: size(stat.f_blocks),
            used: size(stat.f_blocks.saturating_sub(stat.f_bfree)),
            free: size(stat.f_bavail),
        })
    }

    /// Whether PID 1 is the `init` of Rubus, so that its signals mean what
    /// Rubus says they mean.
    pub(crate) fn runs_our_init(&self) -> bool {
        let program = fs::read_link(self.inside("/proc/1/exe"));
        program.is_ok_and(|program| program == Path::new(INIT)) && self.image().is_ok()
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn read(&self, path: &str) -> std::io::Result<String> {
        fs::read_to_string(self.inside(path))
    }
}

/// Release of the running kernel.
pub(crate) fn kernel() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// Microseconds since the kernel started.
pub(crate) fn now_us() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds * 1_000_000 + nanoseconds / 1_000
}

/// The device (`major:minor`) that is mounted at `point`, from mountinfo(5).
/// The last mount covers those before.
fn mounted_device<'a>(mountinfo: &'a str, point: &str) -> Option<&'a str> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(2);
            let device = fields.next()?;
            (fields.nth(1)? == point).then_some(device)
        })
        .next_back()
}

fn memory(meminfo: &str) -> Option<Memory> {
    let value = |key: &str| -> Option<u64> {
        let rest = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        let number = rest.strip_prefix(':')?.trim().strip_suffix(" kB")?;
        number.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    let total = value("MemTotal")?;
    Some(Memory {
        total,
        used: total.saturating_sub(value("MemAvailable")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_memory_is_what_programs_cannot_get() {
        let text = "MemTotal:  1000 kB\nMemFree:  100 kB\nMemAvailable:     600 kB\n";
        assert_eq!(
            memory(text),
            Some(Memory {
                total: 1_024_000,
                used: 409_600
            })
        );
        assert_eq!(memory("MemTotal: 1000 kB\n"), None);
        assert_eq!(memory("MemTotal: many kB\nMemAvailable: 1 kB\n"), None);
    }

    #[test]
    fn the_device_of_a_mount_is_found_by_its_whole_path() {
        let text = "\
22 1 7:0 / / ro - squashfs /dev/loop0 ro
30 22 179:2 / /run/rubus/slot ro,nodev - vfat /dev/mmcblk0p2 ro
31 22 179:9 / /run/rubus/slot2 ro - vfat /dev/mmcblk0p9 ro
short line
";
        assert_eq!(mounted_device(text, "/run/rubus/slot"), Some("179:2"));
        assert_eq!(mounted_device(text, "/run/rubus"), None);
        assert_eq!(mounted_device("", "/"), None);
    }

    #[test]
    fn the_slot_is_the_number_of_the_partition() {
        let node = |partition: &str| {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("proc/1")).unwrap();
            fs::create_dir_all(dir.path().join("sys/dev/block/8:3")).unwrap();
            fs::write(
                dir.path().join("proc/1/mountinfo"),
                "30 22 8:3 / /run/rubus/slot ro - vfat /dev/sda3 ro\n",
            )
            .unwrap();
            fs::write(dir.path().join("sys/dev/block/8:3/partition"), partition).unwrap();
            Host::new(dir.path()).slot()
        };
        assert_eq!(node("2\n"), Some(Slot::A));
        assert_eq!(node("3\n"), Some(Slot::B));
        assert_eq!(node("4\n"), None);
        assert_eq!(Host::new(Path::new("/nonexistent")).slot(), None);
    }

    #[test]
    fn a_machine_without_our_image_does_not_run_our_init() {
        assert!(!Host::new(Path::new("/nonexistent")).runs_our_init());
    }
}
