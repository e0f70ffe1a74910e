//! The least that has to happen before Docker answers, on the disk of an image:
//! mounts, containerd and dockerd, and nothing else. Says on the console when
//! the engine answers, ends it, and switches the machine off.
//!
//! `bench/boot` puts it into the image's own initramfs as `/floor`. Kernel, its
//! modules, programs, data and configuration of the engine are the image's.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::{
        fd::AsRawFd,
        unix::{fs::chroot, net::UnixStream, process::CommandExt},
    },
    process::{Child, Command},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    kmod::{ModuleInitFlags, finit_module},
    mount::{MsFlags, mount},
    sys::{
        reboot::{RebootMode, reboot},
        signal::{Signal, kill},
    },
    unistd::{Pid, sync},
};

/// The engine's root filesystem, and what of it is not the image's.
const ENGINE: &str = "/usr/lib/rubus/services/docker/rootfs";
const BINDS: [(&str, &str); 7] = [
    ("/proc", "/proc"),
    ("/sys", "/sys"),
    ("/dev", "/dev"),
    ("/run", "/run"),
    ("/usr/lib/modules", "/usr/lib/modules"),
    ("/usr/sbin/init", "/usr/sbin/modprobe"),
    ("/data/docker", "/var/lib/docker"),
];
/// Where the image's configuration of dockerd has it listen.
const SOCKET: &str = "/run/rubus/docker/docker.sock";
const LOG: &str = "/run/floor.log";
/// The engine is in a group of its own, so that its time can be told.
const GROUP: &str = "/sys/fs/cgroup/floor";

/// Far above what it takes.
const PATIENCE: u32 = 6000;
const PAUSE: Duration = Duration::from_millis(50);

fn main() {
    let outcome = run();
    // There is nobody to tell when the console cannot be written to.
    let _ = match outcome {
        Ok(()) => Ok(()),
        Err(error) => say(&format!("floor: {error:#}\n{}", log())),
    };
    sync();
    let _ = reboot(RebootMode::RB_POWER_OFF);
}

fn run() -> Result<()> {
    mount_all()?;
    fs::create_dir(GROUP).context("cannot make the engine's group")?;
    let mut containerd = start("containerd")?;
    let mut dockerd = start("dockerd")?;
    wait_for_engine()?;
    say(&format!("floor: docker answers {}\n", figures()?))?;
    stop(&mut dockerd)?;
    stop(&mut containerd)?;
    sync();
    // The next boot finds it as if it had been unmounted.
    remount_read_only("/data")
}

fn mount_all() -> Result<()> {
    mounted("proc", "/proc", "proc", "")?;
    mounted("sysfs", "/sys", "sysfs", "")?;
    mounted("devtmpfs", "/dev", "devtmpfs", "")?;
    for module in fs::read_to_string("/modules/order")?.lines() {
        let file = File::open(format!("/modules/{module}"))?;
        finit_module(file, c"", ModuleInitFlags::empty())
            .with_context(|| format!("cannot load {module}"))?;
    }
    for folder in ["/slot", "/system"] {
        fs::create_dir(folder)?;
    }
    mount_device("/dev/vda2", "/slot", "vfat", MsFlags::MS_RDONLY)?;
    let image = loop_over("/slot/system.squashfs")?;
    mount_device("/dev/loop0", "/system", "squashfs", MsFlags::MS_RDONLY)?;
    drop(image);
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mounted(kind, &format!("/system{target}"), kind, "")?;
    }
    // The kernel's calls of modprobe see the new root from here on.
    chroot("/system")?;
    std::env::set_current_dir("/")?;
    mounted("tmpfs", "/run", "tmpfs", "")?;
    mounted("cgroup2", "/sys/fs/cgroup", "cgroup2", "")?;
    mount_device("/dev/vda4", "/data", "ext4", MsFlags::MS_NOATIME)?;
    fs::create_dir_all("/run/rubus/docker")?;
    for (source, target) in BINDS {
        bind(source, &format!("{ENGINE}{target}"))?;
    }
    mounted("tmpfs", &format!("{ENGINE}/tmp"), "tmpfs", "")
}

fn mounted(source: &str, target: &str, kind: &str, options: &str) -> Result<()> {
    mount(
        Some(source),
        target,
        Some(kind),
        MsFlags::empty(),
        Some(options),
    )
    .with_context(|| format!("cannot mount {kind} on {target}"))
}

fn mount_device(source: &str, target: &str, kind: &str, flags: MsFlags) -> Result<()> {
    mount(Some(source), target, Some(kind), flags, None::<&str>)
        .with_context(|| format!("cannot mount {source} on {target}"))
}

fn bind(source: &str, target: &str) -> Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source), target, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("cannot bind {source} to {target}"))
}

fn remount_read_only(target: &str) -> Result<()> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("cannot make {target} read-only"))
}

mod ioctls {
    #![allow(missing_docs, reason = "the macro writes them")]
    nix::ioctl_write_int_bad!(loop_set_fd, 0x4C00);
    nix::ioctl_write_int_bad!(loop_set_direct_io, 0x4C08);
}

/// Puts the first loop device over a file, past the page cache as the image's
/// own init does.
fn loop_over(file: &str) -> Result<File> {
    let file = File::open(file)?;
    let device = File::open("/dev/loop0")?;
    // SAFETY: both requests take a number, and the first one that of an open
    // file.
    unsafe {
        ioctls::loop_set_fd(device.as_raw_fd(), file.as_raw_fd())?;
        ioctls::loop_set_direct_io(device.as_raw_fd(), 1)?;
    }
    Ok(device)
}

fn start(program: &str) -> Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(LOG)?;
    let mut command = Command::new(program);
    command
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .stdout(log.try_clone()?)
        .stderr(log);
    // SAFETY: the closure makes system calls; no other thread runs here that
    // could hold a lock.
    unsafe {
        command.pre_exec(|| {
            fs::write(format!("{GROUP}/cgroup.procs"), "0")?;
            chroot(ENGINE)?;
            std::env::set_current_dir("/")
        });
    }
    command
        .spawn()
        .with_context(|| format!("cannot start {program}"))
}

fn stop(child: &mut Child) -> Result<()> {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
    child.wait()?;
    Ok(())
}

fn wait_for_engine() -> Result<()> {
    for _ in 0..PATIENCE {
        match answers() {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) => {}
            Err(error) => return Err(error.into()),
        }
        sleep(PAUSE);
    }
    anyhow::bail!("the engine does not answer")
}

/// Asks what `docker version` asks. The socket is there before the engine is,
/// which then answers late.
fn answers() -> io::Result<bool> {
    let mut stream = UnixStream::connect(SOCKET)?;
    stream.write_all(b"GET /version HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1) == Some("200"))
}

/// Seconds since the kernel started, seconds that the processors were busy, and
/// those of the engine.
fn figures() -> Result<String> {
    let uptime = fs::read_to_string("/proc/uptime")?;
    let uptime = uptime.split(' ').next().unwrap_or_default();
    let stat = fs::read_to_string("/proc/stat")?;
    let ticks: Vec<f64> = stat
        .split_whitespace()
        .skip(1)
        .take(7)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    ensure!(ticks.len() == 7, "/proc/stat is not understood");
    let busy = (ticks[0] + ticks[2] + ticks[5] + ticks[6]) / 100.0;
    let group = fs::read_to_string(format!("{GROUP}/cpu.stat"))?;
    let engine: f64 = group
        .split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .parse::<f64>()?
        / 1e6;
    Ok(format!("{uptime} {busy:.2} {engine:.2}"))
}

fn log() -> String {
    fs::read_to_string(LOG).unwrap_or_default()
}

fn say(text: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .open("/dev/console")?
        .write_all(text.as_bytes())
}
