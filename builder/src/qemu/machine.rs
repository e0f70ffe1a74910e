//! The machines that QEMU has, and how they are started. Nothing here acts.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail, ensure};

const GIB: u64 = 1 << 30;

/// A machine of QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// Virtio devices on a PCI bus.
    Virt,
    /// Raspberry Pi 3 B.
    Raspi3b,
    /// Raspberry Pi 4 B.
    Raspi4b,
}

impl std::str::FromStr for Machine {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "virt" => Self::Virt,
            "raspi3b" => Self::Raspi3b,
            "raspi4b" => Self::Raspi4b,
            _ => bail!("there is no machine {name}; use virt, raspi3b or raspi4b"),
        })
    }
}

impl Machine {
    /// What QEMU calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Virt => "virt",
            Self::Raspi3b => "raspi3b",
            Self::Raspi4b => "raspi4b",
        }
    }

    /// Names of the device tree in the slot, the best first; none where QEMU
    /// makes its own.
    pub(super) fn device_trees(self) -> &'static [&'static str] {
        match self {
            Self::Virt => &[],
            Self::Raspi3b => &["bcm2837-rpi-3-b.dtb", "bcm2710-rpi-3-b.dtb"],
            Self::Raspi4b => &["bcm2711-rpi-4-b.dtb"],
        }
    }

    /// The memory of the machine in MiB.
    ///
    /// # Errors
    /// When the machine cannot have as much as is asked for.
    pub(super) fn memory(self, asked: Option<u64>) -> Result<u64> {
        let fixed = match self {
            Self::Virt => {
                let memory = asked.unwrap_or(1024);
                ensure!(
                    (256..=64 * 1024).contains(&memory),
                    "{memory} MiB of memory are not possible; choose between 256M and 64G"
                );
                return Ok(memory);
            }
            Self::Raspi3b => 1024,
            Self::Raspi4b => 2048,
        };
        ensure!(
            asked.is_none_or(|asked| asked == fixed),
            "{} always has {fixed} MiB of memory; leave out --memory or use --machine virt",
            self.name()
        );
        Ok(fixed)
    }

    /// The size of the disk in bytes for an image of a size.
    ///
    /// # Errors
    /// When the machine cannot have such a disk, or the image does not fit.
    pub(super) fn disk(self, asked: Option<u64>, image: u64) -> Result<u64> {
        let size = asked.unwrap_or_else(|| (4 * GIB).max((2 * image).next_power_of_two()));
        ensure!(
            size >= image,
            "a disk of {} MiB is too small for the image, which has {} MiB; raise --disk",
            size >> 20,
            image.div_ceil(1 << 20)
        );
        ensure!(
            size.is_multiple_of(512),
            "--disk is not a whole number of sectors"
        );
        ensure!(
            self == Self::Virt || size.is_power_of_two(),
            "the card of {} has a power of two as its size; use --disk 4G or 8G",
            self.name()
        );
        Ok(size)
    }

    /// The command line of the kernel: that of the image, then the console
    /// that QEMU shows, then what was asked for. The last console is the one
    /// that programs get. The watchdog of the raspi machines resets them as
    /// soon as it is started.
    pub(super) fn cmdline(self, image: &str, extra: &str) -> String {
        let additions = match self {
            Self::Virt => "earlycon console=ttyAMA0",
            Self::Raspi3b => {
                "earlycon=pl011,mmio32,0x3f201000 console=ttyAMA0,115200 rubus.watchdog=0"
            }
            Self::Raspi4b => {
                "earlycon=pl011,mmio32,0xfe201000 console=ttyAMA0,115200 rubus.watchdog=0"
            }
        };
        let added: Vec<_> = additions.split(' ').collect();
        image
            .split_whitespace()
            .filter(|word| !added.contains(word))
            .chain(additions.split(' '))
            .chain(extra.split_whitespace())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Everything that a start of QEMU needs.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) machine: Machine,
    pub(super) memory: u64,
    pub(super) disk: PathBuf,
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
    pub(super) device_tree: Option<PathBuf>,
    pub(super) cmdline: String,
    pub(super) forward: Vec<(u16, u16)>,
    pub(super) qmp: PathBuf,
}

impl Start {
    /// The arguments for QEMU. The console is the terminal, together with
    /// QEMU's monitor, so that Ctrl-C reaches the guest and Ctrl-A X leaves.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        add(&["-M", self.machine.name()]);
        if self.machine == Machine::Virt {
            add(&["-cpu", "cortex-a72", "-smp", "2"]);
        }
        add(&["-m", &self.memory.to_string()]);
        add(&["-display", "none", "-serial", "mon:stdio", "-no-reboot"]);
        let mut network = "user,id=n0".to_owned();
        for (host, guest) in &self.forward {
            network += &format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}");
        }
        add(&["-netdev", &network]);
        let disk = match self.machine {
            Machine::Virt => {
                // Without the boot ROM, which is in another package.
                add(&["-device", "virtio-net-pci,netdev=n0,romfile="]);
                add(&["-device", "virtio-blk-pci,drive=d0"]);
                "if=none,id=d0,format=qcow2,file="
            }
            Machine::Raspi3b | Machine::Raspi4b => {
                add(&["-device", "usb-net,netdev=n0"]);
                "if=sd,format=qcow2,file="
            }
        };
        add(&["-append", &self.cmdline]);
        let mut add_path = |flag: &str, before: &str, path: &Path| {
            let mut value = OsString::from(before);
            value.push(if before.is_empty() {
                path.as_os_str().to_owned()
            } else {
                escape(path)
            });
            arguments.extend([OsString::from(flag), value]);
        };
        add_path("-drive", disk, &self.disk);
        add_path("-qmp", "unix:", &self.qmp);
        add_path("-kernel", "", &self.kernel);
        add_path("-initrd", "", &self.initramfs);
        if let Some(device_tree) = &self.device_tree {
            add_path("-dtb", "", device_tree);
        }
        arguments
    }
}

/// In a list of options a comma is written twice.
fn escape(path: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut bytes = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        bytes.push(*byte);
        if *byte == b',' {
            bytes.push(b',');
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Machine; 3] = [Machine::Virt, Machine::Raspi3b, Machine::Raspi4b];

    #[test]
    fn a_machine_is_known_by_its_name() {
        for machine in ALL {
            assert_eq!(machine.name().parse::<Machine>().unwrap(), machine);
        }
        let error = "raspi5".parse::<Machine>().unwrap_err();
        assert!(error.to_string().contains("raspi4b"), "{error}");
    }

    #[test]
    fn the_console_of_qemu_comes_last_and_nothing_of_the_image_is_lost() {
        let own = "console=tty0 console=ttyS1,115200 rubus.slot=PARTUUID=1-02 panic=5\n";
        let cmdline = Machine::Raspi4b.cmdline(own, "rubus.rescue");
        assert_eq!(
            cmdline,
            "console=tty0 console=ttyS1,115200 rubus.slot=PARTUUID=1-02 panic=5 \
             earlycon=pl011,mmio32,0xfe201000 console=ttyAMA0,115200 rubus.watchdog=0 rubus.rescue"
        );
        let cmdline = Machine::Virt.cmdline("console=ttyAMA0 console=tty0", "");
        assert_eq!(cmdline, "console=tty0 earlycon console=ttyAMA0");
    }

    #[test]
    fn a_pi_has_the_memory_that_it_has() {
        assert_eq!(Machine::Virt.memory(None).unwrap(), 1024);
        assert_eq!(Machine::Virt.memory(Some(2048)).unwrap(), 2048);
        assert_eq!(Machine::Raspi3b.memory(None).unwrap(), 1024);
        assert_eq!(Machine::Raspi4b.memory(Some(2048)).unwrap(), 2048);
        assert!(Machine::Raspi4b.memory(Some(1024)).is_err());
        assert!(Machine::Virt.memory(Some(1)).is_err());
    }

    #[test]
    fn a_card_has_a_power_of_two() {
        assert_eq!(Machine::Raspi3b.disk(None, 330 << 20).unwrap(), 4 * GIB);
        assert_eq!(Machine::Virt.disk(Some(5 * GIB), GIB).unwrap(), 5 * GIB);
        assert_eq!(Machine::Virt.disk(None, 5 * GIB).unwrap(), 16 * GIB);
        assert!(Machine::Raspi3b.disk(Some(5 * GIB), GIB).is_err());
        for machine in ALL {
            let error = machine.disk(Some(GIB), 2 * GIB).unwrap_err();
            assert!(error.to_string().contains("--disk"), "{error}");
        }
    }

    #[test]
    fn ports_are_forwarded_from_this_machine_only() {
        let start = Start {
            machine: Machine::Raspi3b,
            memory: 1024,
            disk: "/a,b/disk".into(),
            kernel: "/k,l".into(),
            initramfs: "/i".into(),
            device_tree: Some("/d".into()),
            cmdline: "a b".into(),
            forward: vec![(8080, 80), (2222, 22)],
            qmp: "/q".into(),
        };
        let arguments = start.arguments();
        let after = |flag: &str| {
            let index = arguments.iter().position(|word| word == flag).unwrap();
            arguments[index + 1].to_str().unwrap().to_owned()
        };
        assert_eq!(
            after("-netdev"),
            "user,id=n0,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=tcp:127.0.0.1:2222-:22"
        );
        assert_eq!(after("-drive"), "if=sd,format=qcow2,file=/a,,b/disk");
        assert_eq!(after("-kernel"), "/k,l");
        assert_eq!(after("-dtb"), "/d");
        assert_eq!(after("-append"), "a b");
    }
}
