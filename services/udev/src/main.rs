//! Announces to udev what the kernel found before udev ran, as `udevadm trigger`
//! does, but only devices that udev has something to do for: those with a node,
//! which gets an owner or a name, and on buses whose devices ask for modules one
//! of each kind. A module is loaded once, and takes all devices that it is for.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

/// Buses and classes whose devices have nodes, or may have.
const NODES: [&str; 13] = [
    "block",
    "drm",
    "gpio",
    "hidraw",
    "i2c-dev",
    "input",
    "media",
    "misc",
    "rtc",
    "sound",
    "spidev",
    "usb",
    "video4linux",
];
/// Those whose devices only ask for modules.
const BUSES: [&str; 7] = ["i2c", "mmc", "pci", "platform", "sdio", "spi", "virtio"];

/// udevd is process 1 here: the service has process numbers of its own.
const UDEVD: &str = "/proc/1/fd";
const SOCKETS: &str = "/proc/net/netlink";
/// `NETLINK_KOBJECT_UEVENT`, and the group that the kernel speaks to.
const UEVENTS: &str = "15";
const KERNEL: u32 = 1;
const PAUSE: Duration = Duration::from_millis(50);
/// udevd reads its rules before it listens: long on a busy board, not this long.
const PATIENCE: u32 = 1200;

fn main() {
    // What is announced before udevd listens is lost.
    if !(0..PATIENCE).any(|_| udevd_listens() || pause()) {
        eprintln!("udevd does not listen; going on as if it did");
    }
    for device in all(Path::new("/sys")) {
        // It may have gone meanwhile.
        let _ = fs::write(device.join("uevent"), "add");
    }
}

/// Always false.
fn pause() -> bool {
    sleep(PAUSE);
    false
}

fn udevd_listens() -> bool {
    let sockets = fs::read_to_string(SOCKETS).unwrap_or_default();
    fs::read_dir(UDEVD)
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|file| hears_the_kernel(&sockets, &file.to_string_lossy()))
}

/// Whether an open file (`socket:[INODE]`) is a socket to which the kernel
/// announces devices, by the kernel's list of netlink sockets.
fn hears_the_kernel(sockets: &str, file: &str) -> bool {
    let Some(inode) = file
        .strip_prefix("socket:[")
        .and_then(|it| it.strip_suffix(']'))
    else {
        return false;
    };
    sockets.lines().any(|line| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, protocol, _, groups, .., last] = columns[..] else {
            return false;
        };
        protocol == UEVENTS
            && last == inode
            && u32::from_str_radix(groups, 16).is_ok_and(|groups| groups & KERNEL != 0)
    })
}

/// The devices to announce. What others depend on comes first: modules bring
/// further devices, which announce themselves.
fn all(sys: &Path) -> Vec<PathBuf> {
    let mut devices = Vec::new();
    for bus in BUSES {
        devices.extend(one_of_each_kind(of(sys, bus)));
    }
    for subsystem in NODES {
        devices.extend(of(sys, subsystem));
    }
    devices
}

/// The devices of a bus, of a class, or of both: `gpio` is one and the other.
fn of(sys: &Path, subsystem: &str) -> Vec<PathBuf> {
    let mut devices = entries(&sys.join("bus").join(subsystem).join("devices"));
    devices.extend(entries(&sys.join("class").join(subsystem)));
    devices
}

/// By name, so that a disk comes before its partitions.
fn entries(folder: &Path) -> Vec<PathBuf> {
    // A kernel has the buses and classes that it has devices or drivers of.
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort_unstable();
    entries
}

/// Leaves out what asks for no module, and what asks for the same as another.
fn one_of_each_kind(devices: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    devices
        .into_iter()
        .filter(|device| {
            let properties = fs::read_to_string(device.join("uevent")).unwrap_or_default();
            module(&properties).is_some_and(|alias| seen.insert(alias.to_owned()))
        })
        .collect()
}

/// What a device asks for, of the properties that the kernel announces it with.
/// Not every bus has a file of it.
fn module(properties: &str) -> Option<&str> {
    properties
        .lines()
        .find_map(|line| line.strip_prefix("MODALIAS="))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Below a folder that the test removes again.
    fn sys(name: &str, devices: &[(&str, Option<&str>)]) -> PathBuf {
        let sys = std::env::temp_dir().join(format!("coldplug-{name}-{}", std::process::id()));
        for (device, alias) in devices {
            let folder = sys.join(device);
            fs::create_dir_all(&folder).unwrap();
            let alias = alias.map(|it| format!("MODALIAS={it}\n"));
            let properties = format!("DRIVER=x\n{}", alias.unwrap_or_default());
            fs::write(folder.join("uevent"), properties).unwrap();
        }
        sys
    }

    fn announced(sys: &Path) -> Vec<String> {
        let devices = all(sys);
        fs::remove_dir_all(sys).unwrap();
        devices
            .iter()
            .map(|it| it.strip_prefix(sys).unwrap().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn udevd_listens_once_its_socket_is_in_the_kernels_group() {
        let sockets = "\
sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
0000000000000000 0   612        00000551 0        0        0     2        0        3456
0000000000000000 15  1          00000001 0        0        0     2        0        5678
0000000000000000 15  4243       00000002 0        0        0     2        0        6789
";
        assert!(hears_the_kernel(sockets, "socket:[5678]"));
        for file in [
            "socket:[3456]",
            "socket:[6789]",
            "socket:[567]",
            "/dev/null",
            "pipe:[5678]",
            "",
        ] {
            assert!(!hears_the_kernel(sockets, file), "{file}");
        }
        assert!(!hears_the_kernel("", "socket:[5678]"));
    }

    #[test]
    fn devices_that_ask_for_the_same_module_are_announced_once() {
        let sys = sys(
            "kinds",
            &[
                ("bus/platform/devices/a.mmio", Some("of:Nmmio")),
                ("bus/platform/devices/b.mmio", Some("of:Nmmio")),
                ("bus/platform/devices/c.timer", Some("of:Ntimer")),
                ("bus/platform/devices/soc", None),
                ("bus/pci/devices/0000:00:01.0", Some("pci:v1")),
            ],
        );
        assert_eq!(
            announced(&sys),
            [
                "bus/pci/devices/0000:00:01.0",
                "bus/platform/devices/a.mmio",
                "bus/platform/devices/c.timer",
            ]
        );
    }

    #[test]
    fn every_device_with_a_node_is_announced() {
        let sys = sys(
            "nodes",
            &[
                ("class/block/vda1", None),
                ("class/block/vda", None),
                ("bus/gpio/devices/gpiochip0", None),
                ("class/gpio/gpiochip512", None),
                ("bus/usb/devices/1-1", None),
                ("bus/usb/devices/1-1:1.0", Some("usb:v1")),
                ("bus/usb/devices/1-2:1.0", Some("usb:v1")),
                ("class/tty/ttyS0", None),
            ],
        );
        assert_eq!(
            announced(&sys),
            [
                "class/block/vda",
                "class/block/vda1",
                "bus/gpio/devices/gpiochip0",
                "class/gpio/gpiochip512",
                "bus/usb/devices/1-1",
                "bus/usb/devices/1-1:1.0",
                "bus/usb/devices/1-2:1.0",
            ]
        );
    }
}
