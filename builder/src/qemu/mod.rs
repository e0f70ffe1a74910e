//! `rubus run`: boots an image in QEMU.
//!
//! QEMU does not emulate the firmware of a Pi. What the firmware would load is
//! taken out of the image's slot and handed to QEMU, again on each reboot of
//! the guest.

mod disk;
pub mod dtb;
mod machine;
mod signals;
mod tools;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::{net::UnixListener, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

pub use self::machine::Machine;
use self::{disk::Disk, machine::Start, signals::Guard};
use crate::image::reader;

/// How to run an image.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The image, compressed or not.
    pub image: PathBuf,
    /// The machine to run it on.
    pub machine: Machine,
    /// Ports of this machine, on 127.0.0.1, and the ports of the guest.
    pub forward: Vec<(u16, u16)>,
    /// Memory of the guest in MiB.
    pub memory: Option<u64>,
    /// Size of the guest's disk in bytes.
    pub disk: Option<u64>,
    /// A disk that is kept; without it all changes are thrown away.
    pub state: Option<PathBuf>,
    /// More words for the kernel's command line.
    pub extra_append: String,
}

/// Boots an image with the terminal as its console, and again whenever it
/// reboots. Returns the exit status of QEMU.
///
/// # Errors
/// When QEMU is missing or too old, the image is not bootable, or the options
/// do not fit the machine.
pub fn run(options: &RunOptions) -> Result<i32> {
    tools::check()?;
    let memory = options.machine.memory(options.memory)?;
    check_ports(&options.forward)?;
    let folder = tempfile::Builder::new()
        .prefix("rubus-run-")
        .tempdir()
        .context("cannot make a temporary folder")?;
    let guard = Guard::new(folder.path())?;
    let disk = prepare_disk(options, folder.path())?;
    let title = format!("{} on {}", options.image.display(), options.machine.name());
    loop {
        let boot = disk.boot_files(options.machine, folder.path())?;
        let start = Start {
            machine: options.machine,
            memory,
            disk: disk.path.clone(),
            kernel: boot.kernel,
            initramfs: boot.initramfs,
            device_tree: boot.device_tree,
            cmdline: options
                .machine
                .cmdline(&boot.cmdline, &options.extra_append),
            forward: options.forward.clone(),
            qmp: folder.path().join("qmp"),
        };
        eprintln!("{title}: Ctrl-A X leaves, Ctrl-A H shows more keys");
        let (status, reason) = boot_once(&start, &guard)?;
        if reason.as_deref() != Some("guest-reset") || guard.was_interrupted() {
            return Ok(status);
        }
        eprintln!("{title}: restarts");
    }
}

fn prepare_disk(options: &RunOptions, folder: &Path) -> Result<Disk> {
    let unpacked = folder.join("image.img");
    let raw = if let Some(state) = options.state.as_deref().filter(|state| state.exists()) {
        // The image is not needed any more.
        state
    } else if reader::unpack_to(&options.image, &unpacked)? {
        &unpacked
    } else {
        // Says what is wrong with the file before QEMU does.
        reader::DiskImage::open(&options.image)?;
        &options.image
    };
    match &options.state {
        Some(state) => Disk::kept(state, raw, options.machine, options.disk),
        None => Disk::overlay(raw, options.machine, options.disk, folder),
    }
}

fn check_ports(forward: &[(u16, u16)]) -> Result<()> {
    for (index, (host, _)) in forward.iter().enumerate() {
        ensure!(
            !forward[..index].iter().any(|(other, _)| other == host),
            "port {host} is forwarded twice"
        );
        TcpListener::bind(("127.0.0.1", *host)).with_context(|| {
            format!("cannot forward port {host} of this machine; choose another with --forward")
        })?;
    }
    Ok(())
}

/// Runs QEMU once. Returns its exit status, and why the guest ended, in the
/// words of QMP.
fn boot_once(start: &Start, guard: &Guard) -> Result<(i32, Option<String>)> {
    // QEMU connects to this socket; the one of the boot before is in the way.
    let _ = std::fs::remove_file(&start.qmp);
    let listener = UnixListener::bind(&start.qmp).with_context(|| {
        format!(
            "cannot make the socket {}; set TMPDIR to a folder with a short name",
            start.qmp.display()
        )
    })?;
    let (reasons, reason) = mpsc::channel();
    thread::spawn(move || {
        // Without a reason the run just ends, as after a power-off.
        let _ = reasons.send(shutdown_reason(&listener).unwrap_or_default());
    });
    let mut child = Command::new(tools::SYSTEM)
        .args(start.arguments())
        .spawn()
        .map_err(|error| tools::missing(tools::SYSTEM, error))?;
    guard.set_child(Some(child.id()));
    let status = child.wait().context("cannot wait for QEMU")?;
    guard.set_child(None);
    // The event comes before QEMU ends; this only waits for the other thread.
    let reason = reason
        .recv_timeout(Duration::from_millis(500))
        .unwrap_or_default();
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok((code, reason))
}

/// Listens to QEMU until it ends and returns the reason of its last shutdown.
fn shutdown_reason(listener: &UnixListener) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Message {
        event: Option<String>,
        data: Option<Data>,
    }
    #[derive(Deserialize)]
    struct Data {
        reason: Option<String>,
    }
    let (mut stream, _) = listener.accept()?;
    stream.write_all(b"{\"execute\":\"qmp_capabilities\"}\n")?;
    let mut reason = None;
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        if let Ok(message) = serde_json::from_str::<Message>(&line)
            && message.event.as_deref() == Some("SHUTDOWN")
        {
            reason = message.data.and_then(|data| data.reason);
        }
    }
    Ok(reason)
}
