//! The end: processes, then filesystems, then the machine.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, sync};
use rubus_config::paths;
use rubus_config::power::PowerAction;

use crate::log;
use crate::sys::process::{Reaped, reap};
use crate::sys::watchdog::Watchdog;

/// How long processes may take to end by themselves.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long killed processes may take to be gone.
const KILLED: Duration = Duration::from_secs(2);
/// How often the watchdog is pinged meanwhile.
const PING: Duration = Duration::from_secs(4);
/// How long the watchdog waits for the end; writing back to a slow card takes
/// its time, and what takes longer hangs.
const LONGEST: Duration = Duration::from_secs(120);

/// Ends everything in order and leaves.
pub(crate) fn carry_out(
    action: PowerAction,
    watchdog: Option<Watchdog>,
    save_time: impl FnOnce(),
) -> ! {
    if let Some(Ok(watchdog)) = watchdog.as_ref().map(Watchdog::try_clone) {
        ping_meanwhile(watchdog);
    }
    end_processes();
    save_time();
    put_away();
    if let (PowerAction::Poweroff, Some(watchdog)) = (action, watchdog) {
        watchdog.stop();
    }
    leave(action)
}

/// Writes back what is in memory and unmounts what can be written to.
pub(crate) fn put_away() {
    sync();
    unmount();
}

/// Restarts or switches off, whatever still runs.
pub(crate) fn leave(action: PowerAction) -> ! {
    sync();
    let (mode, word) = match action {
        PowerAction::Reboot => (RebootMode::RB_AUTOBOOT, "restarting"),
        PowerAction::Poweroff => (RebootMode::RB_POWER_OFF, "switching off"),
    };
    log::info(word);
    let Err(error) = reboot(mode);
    log::error(&format!("{word} failed: {error}; switch off by hand"));
    loop {
        thread::sleep(LONGEST);
    }
}

/// Pings from a thread of its own: writing back may block for longer than the
/// watchdog waits.
fn ping_meanwhile(watchdog: Watchdog) {
    let pinging = thread::Builder::new().spawn(move || {
        let begin = Instant::now();
        while begin.elapsed() < LONGEST && watchdog.ping().is_ok() {
            thread::sleep(PING);
        }
    });
    if let Err(error) = pinging {
        log::error(&format!("the watchdog is not pinged any more: {error}"));
    }
}

fn end_processes() {
    for (signal, patience) in [(Signal::SIGTERM, PATIENCE), (Signal::SIGKILL, KILLED)] {
        // Everything but this process; there may be nothing left to signal.
        let _ = kill(Pid::from_raw(-1), signal);
        if all_gone_within(patience) {
            return;
        }
    }
    log::error("some processes do not end; going on without them");
}

/// Orphans become children of process 1, so the last child is the last
/// process.
fn all_gone_within(patience: Duration) -> bool {
    const LOOK_EVERY: Duration = Duration::from_millis(20);
    let begin = Instant::now();
    loop {
        match reap() {
            Reaped::NoChildren => return true,
            Reaped::One(_) => {}
            Reaped::NoneEnded if begin.elapsed() >= patience => return false,
            Reaped::NoneEnded => thread::sleep(LOOK_EVERY),
        }
    }
}

/// Unmounts whatever lies on the data partition, the newest first. Slot and
/// system image stay: they were never writable.
fn unmount() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for target in unmount_order(&mounts) {
        if umount2(target.as_str(), MntFlags::empty()).is_err() && target != paths::DATA {
            let _ = umount2(target.as_str(), MntFlags::MNT_DETACH);
        }
    }
    let read_only = mount(
        None::<&str>,
        paths::DATA,
        None::<&str>,
        MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY,
        None::<&str>,
    );
    // Nothing is mounted there any more, or the folder was never there.
    const GONE: [nix::Error; 2] = [nix::Error::EINVAL, nix::Error::ENOENT];
    if let Err(error) = read_only
        && !GONE.contains(&error)
    {
        log::error(&format!(
            "{} is still being written to: {error}; the next boot replays its journal",
            paths::DATA
        ));
    }
}

/// The mount points to unmount, in order: all but the root and what the kernel
/// or `init` itself still needs, the newest first.
fn unmount_order(mountinfo: &str) -> Vec<String> {
    const KEPT: &[&str] = &["/dev", "/proc", "/sys", "/run", "/etc"];
    let kept = |target: &str| {
        target == "/"
            || target == paths::SLOT
            || KEPT.iter().any(|kept| {
                target
                    .strip_prefix(kept)
                    .is_some_and(|rest| rest.is_empty() || *kept != "/run" && rest.starts_with('/'))
            })
    };
    let mut targets: Vec<String> = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescaped)
        .filter(|target| !kept(target))
        .collect();
    targets.reverse();
    targets
}

/// The kernel writes spaces and the like as three octal digits.
fn unescaped(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{unescaped, unmount_order};

    #[test]
    fn what_lies_on_the_data_partition_goes_the_newest_first() {
        let mountinfo = "\
1 0 7:0 / / ro - squashfs /dev/loop0 ro
2 1 0:5 / /dev rw - devtmpfs devtmpfs rw
3 2 0:6 / /dev/pts rw - devpts devpts rw
4 1 0:7 / /run rw - tmpfs tmpfs rw
5 4 179:2 / /run/rubus/slot ro - vfat /dev/mmcblk0p2 ro
6 1 179:4 / /data rw - ext4 /dev/mmcblk0p4 rw
7 1 0:8 / /etc rw - tmpfs tmpfs rw
8 1 0:9 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
9 1 179:4 /rubus /var/lib/rubus rw - ext4 /dev/mmcblk0p4 rw
10 6 0:50 / /data/docker/overlay2/a\\040b/merged rw - overlay overlay rw
11 4 179:4 /x /run/rubus/crun/x rw - ext4 /dev/mmcblk0p4 rw
12 1 0:51 / /runner rw - tmpfs tmpfs rw
";
        assert_eq!(
            unmount_order(mountinfo),
            [
                "/runner",
                "/run/rubus/crun/x",
                "/data/docker/overlay2/a b/merged",
                "/var/lib/rubus",
                "/data",
            ]
        );
    }

    #[test]
    fn escapes_that_are_none_stay() {
        assert_eq!(unescaped("a\\040b\\134"), "a b\\");
        assert_eq!(unescaped("\\04"), "\\04");
        assert_eq!(unescaped("\\999"), "\\999");
    }
}
