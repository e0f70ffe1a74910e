//! The firmware of a Raspberry Pi.

use serde::{Deserialize, Serialize};

use super::values::FirmwareLine;
use crate::firmware;

/// The firmware of a Raspberry Pi.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Firmware {
    /// Lines for its `config.txt`, such as `gpu_mem=32`, behind those of the
    /// board.
    #[cfg_attr(feature = "schema", schemars(extend("x-applies" = "reboot")))]
    pub config: Vec<FirmwareLine>,
}

/// What decides which files of a slot are booted, and how. Lines of the board
/// say it; other values lead to a board that does not start.
const OF_THE_SLOT: [&str; 25] = [
    "arm_64bit",
    "arm_control",
    "armstub",
    "auto_initramfs",
    "boot_partition",
    "boot_ramdisk",
    "cmdline",
    "device_tree",
    "device_tree_address",
    "device_tree_end",
    "fixup_file",
    "include",
    "initramfs",
    "kernel",
    "kernel_address",
    "kernel_old",
    "os_check",
    "os_prefix",
    "overlay_prefix",
    "ramfsaddr",
    "ramfsfile",
    "start_debug",
    "start_file",
    "start_x",
    "upstream_kernel",
];
/// What needs files that Debian's kernels do not have.
const OF_OVERLAYS: [&str; 2] = ["dtoverlay", "dtparam"];
/// With less than this the firmware looks for a smaller `start.elf`, which is
/// not in a slot.
const LEAST_GPU_MEMORY: u32 = 32;

impl Firmware {
    /// The lines, as text.
    pub fn lines(&self) -> Vec<&str> {
        self.config.iter().map(FirmwareLine::as_str).collect()
    }

    /// Checks what would keep a board from starting.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |message: String| Err(("firmware.config".to_owned(), message));
        for line in self.lines() {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            if OF_THE_SLOT.contains(&name) {
                return wrong(format!("`{name}` belongs to the image; remove it"));
            }
            if OF_OVERLAYS.contains(&name) {
                return wrong(format!(
                    "`{name}` changes nothing: the device trees are those of Debian's kernel, \
                     which overlays are not made for; remove it"
                ));
            }
            let memory = name.starts_with("gpu_mem").then(|| value.parse::<u32>());
            if memory.is_some_and(|it| it.is_ok_and(|it| it < LEAST_GPU_MEMORY)) {
                return wrong(format!(
                    "`{line}`: the board does not start with so little; give {LEAST_GPU_MEMORY} \
                     or more"
                ));
            }
        }
        if firmware::sector(&self.lines()).is_none() {
            return wrong(format!(
                "the lines have more than {} bytes together; leave some out",
                firmware::ROOM
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str]) -> Result<(), (String, String)> {
        let config = lines.iter().map(|line| (*line).try_into().unwrap());
        let firmware = Firmware {
            config: config.collect(),
        };
        firmware.check()
    }

    #[test]
    fn what_a_board_could_not_start_with_is_refused() {
        assert_eq!(
            check(&["gpu_mem=64", "hdmi_mode:1=16", "arm_freq=1500"]),
            Ok(())
        );
        for (line, words) in [
            ("kernel=mine.img", "`kernel` belongs to the image"),
            ("os_prefix=x/", "belongs to the image"),
            ("dtoverlay=disable-bt", "changes nothing"),
            ("gpu_mem=16", "32 or more"),
            ("gpu_mem_512=8", "32 or more"),
        ] {
            let (key, message) = check(&["disable_splash=1", line]).unwrap_err();
            assert_eq!(key, "firmware.config");
            assert!(message.contains(words), "{message}");
        }
        let long = format!("x={}", "y".repeat(90));
        let (_, message) = check(&[&long, &long, &long, &long, &long, &long]).unwrap_err();
        assert!(message.contains("bytes together"), "{message}");
    }
}
