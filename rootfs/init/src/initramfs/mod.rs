//! From the kernel to the system root.

mod data;
mod decision;
mod disk;
mod ext4;
mod modules;
mod partitions;
mod slot;
mod switch;
mod system_image;

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::os::fd::AsFd;

use anyhow::{Context, Result, anyhow};
use nix::mount::MsFlags;
use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, execv};
use rubus_config::boot::Stage;
use rubus_config::paths;

use crate::cmdline::Cmdline;
use crate::log;
use crate::mounts::{self, Virtual};
use crate::steps::{self, Failed, OnFailure, Outcome, Step};
use disk::Partition;

/// Where the system root is mounted until it becomes `/`.
pub(crate) const SYSTEM: &str = "/system";

/// What the steps find out for each other.
#[derive(Default)]
struct Initramfs {
    cmdline: Cmdline,
    slot: Option<Partition>,
}

impl Initramfs {
    fn slot(&self) -> Result<&Partition> {
        self.slot
            .as_ref()
            .ok_or_else(|| anyhow!("the slot is not known"))
    }
}

const STEPS: &[Step<Initramfs>] = &[
    step("mount the kernel's filesystems", mount_virtual),
    step("load the storage modules", |_| modules::load_all()),
    step("find the slot", find_slot),
    step("complete the partition table", |state| {
        partitions::complete(state.slot()?)
    }),
    step("mount the slot", |state| slot::mount(state.slot()?)),
    // Whatever is wrong with it, the node is set up without it.
    Step {
        name: "mount the first-boot files",
        on_failure: OnFailure::Continue,
        run: |state| slot::mount_first_boot(state.slot()?),
    },
    step("mount the system image", |_| system_image::mount()),
    step("mount the data partition", |state| {
        data::make_ready(state.slot()?)
    }),
    step("switch to the system root", |_| switch::into_system()),
];

const fn step(name: &'static str, run: fn(&mut Initramfs) -> Outcome) -> Step<Initramfs> {
    Step {
        name,
        on_failure: OnFailure::Stop,
        run,
    }
}

const VIRTUAL: &[Virtual] = &[
    Virtual {
        kind: "proc",
        target: "/proc",
        flags: mounts::NO_SUID_DEV_EXEC,
        options: "",
    },
    Virtual {
        kind: "sysfs",
        target: "/sys",
        flags: mounts::NO_SUID_DEV_EXEC,
        options: "",
    },
    Virtual {
        kind: "devtmpfs",
        target: "/dev",
        flags: MsFlags::MS_NOSUID,
        options: "mode=0755",
    },
    Virtual {
        kind: "tmpfs",
        target: "/run",
        flags: mounts::NO_SUID_DEV,
        options: "mode=0755,size=20%",
    },
];

/// `RAMFS_MAGIC` of `linux/magic.h`.
const RAMFS_MAGIC: FsType = FsType(0x8584_58F6);

/// Whether the root filesystem is the kernel's initramfs.
pub(crate) fn is_root() -> bool {
    statfs("/").is_ok_and(|fs| {
        let kind = fs.filesystem_type();
        kind == RAMFS_MAGIC || kind == TMPFS_MAGIC
    })
}

/// Runs the stage and becomes `init` of the system root.
pub(crate) fn run() -> Failed {
    let mut state = Initramfs::default();
    if let Err(failed) = steps::run(Stage::Initramfs, STEPS, &mut state) {
        return failed;
    }
    let Err(error) = become_system();
    Failed::after(Stage::Initramfs, STEPS.len(), "start the system", error)
}

fn become_system() -> Result<Infallible> {
    let program = CString::new(switch::INIT)?;
    execv(&program, &[&program]).map_err(|error| {
        anyhow!(
            "cannot start {} of the system image: {error}; write the image to the card again",
            switch::INIT
        )
    })
}

fn mount_virtual(state: &mut Initramfs) -> Outcome {
    for filesystem in VIRTUAL {
        filesystem.mount()?;
    }
    fs::create_dir_all(paths::RUN).with_context(|| format!("cannot make {}", paths::RUN))?;
    use_console();
    state.cmdline = Cmdline::of_kernel();
    Ok(None)
}

/// Makes the console what `init` reads from and prints to. The one that the
/// kernel opened may be missing or belong to the initramfs.
fn use_console() {
    match OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/console")
    {
        Ok(console) => {
            let console = console.as_fd();
            let _ = dup2_stdin(console);
            let _ = dup2_stdout(console);
            let _ = dup2_stderr(console);
        }
        // A kernel without a console still logs.
        Err(error) => log::info(&format!("cannot open /dev/console: {error}")),
    }
}

fn find_slot(state: &mut Initramfs) -> Outcome {
    let uuid = state.cmdline.slot.as_deref().context(
        "the kernel command line has no rubus.slot=PARTUUID=...; \
         add it to cmdline.txt of the slot",
    )?;
    let found = slot::wait_for(uuid)?;
    let note = format!("slot {} is {}", slot::letter(found.number)?, found.name);
    state.slot = Some(found);
    Ok(Some(note))
}
