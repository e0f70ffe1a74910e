//! What the kernel has to be told.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result};
use nix::sys::reboot::set_cad_enabled;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use rubus_config::paths;

use crate::modprobe::Modules;
use crate::steps::Outcome;
use crate::sys;
use crate::sys::watchdog::Watchdog;

/// Settings below `/proc/sys`.
const SETTINGS: &[(&str, &str)] = &[
    // A node without a person in front of it starts again by itself.
    ("kernel/panic", "10"),
    // Several users share the folders in memory.
    ("fs/protected_hardlinks", "1"),
    ("fs/protected_symlinks", "1"),
    ("fs/protected_fifos", "1"),
    ("fs/protected_regular", "2"),
    // The default of 128 is used up by a few dozen containers.
    ("fs/inotify/max_user_instances", "1024"),
];

/// The timeout that the watchdogs of all boards can take.
const WATCHDOG_SECONDS: u32 = 15;
const WATCHDOG: &str = "/dev/watchdog0";

/// Loads the modules that the image lists.
pub(super) fn load_modules() -> Outcome {
    let list = match fs::read_to_string(paths::EARLY_MODULES) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("cannot read {}", paths::EARLY_MODULES))?,
    };
    let modules = Modules::of_running_kernel()?;
    let mut missing = Vec::new();
    for name in list.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if modules.load(name).is_err() {
            missing.push(name);
        }
    }
    // An image serves several boards, and none has all the hardware.
    Ok((!missing.is_empty()).then(|| format!("not loaded: {}", missing.join(" "))))
}

/// Brings up the loopback interface.
pub(super) fn loopback() -> Outcome {
    sys::net::loopback_up().context("cannot bring up lo")?;
    Ok(None)
}

/// Limits and settings that a host of containers needs.
pub(super) fn set_limits() -> Outcome {
    // The soft limit stays as programs expect it; who needs more asks.
    setrlimit(Resource::RLIMIT_NOFILE, 1024, 524_288)
        .context("cannot raise the limit of open files")?;
    setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)
        .context("cannot raise the limit of locked memory")?;
    let refused: Vec<&str> = SETTINGS
        .iter()
        .filter(|(name, value)| fs::write(format!("/proc/sys/{name}"), value).is_err())
        .map(|(name, _)| *name)
        .collect();
    // Ctrl-Alt-Del asks us, instead of pulling the plug.
    set_cad_enabled(false).context("cannot take over Ctrl-Alt-Del")?;
    Ok((!refused.is_empty()).then(|| format!("refused: {}", refused.join(" "))))
}

/// Starts the hardware watchdog, where there is one.
pub(super) fn start_watchdog() -> Result<(Option<Watchdog>, Option<String>)> {
    match Watchdog::start(WATCHDOG, WATCHDOG_SECONDS) {
        Ok((watchdog, seconds)) => Ok((Some(watchdog), Some(format!("{seconds} s")))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok((None, Some("none".to_owned()))),
        Err(error) => Err(error).with_context(|| format!("cannot start {WATCHDOG}")),
    }
}
