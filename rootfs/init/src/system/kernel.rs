//! What the kernel has to be told.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result};
use nix::sys::reboot::set_cad_enabled;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use rubus_config::paths;
use rubus_config::settings::values::ModuleName;
use rubus_config::settings::{Kernel, Settings};

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

/// Loads the modules and sets the parameters that the configuration names.
pub(super) fn configure(settings: &Kernel) -> Outcome {
    let mut refused = Vec::new();
    if !settings.modules.is_empty() {
        let modules = Modules::of_running_kernel()?;
        let names = settings.modules.iter().map(ModuleName::as_str);
        refused.extend(names.filter(|name| modules.load(name).is_err()));
    }
    for (name, value) in &settings.sysctl {
        let path = format!("/proc/sys/{}", parameter_path(name.as_str()));
        if fs::write(path, value.as_str()).is_err() {
            refused.push(name.as_str());
        }
    }
    Ok((!refused.is_empty()).then(|| format!("refused: {}", refused.join(" "))))
}

/// As in `sysctl(8)`: dots separate, and a slash stands for a dot in a name
/// (`net.ipv4.conf.eth0/10.rp_filter`).
fn parameter_path(name: &str) -> String {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    name.chars().map(swap).collect()
}

/// Starts the hardware watchdog, where there is one.
pub(super) fn start_watchdog(settings: &Settings) -> Result<(Option<Watchdog>, Option<String>)> {
    if !settings.watchdog.enabled {
        return Ok((None, Some("off, as configured".to_owned())));
    }
    match Watchdog::start(WATCHDOG, settings.watchdog.timeout.get()) {
        Ok((watchdog, seconds)) => Ok((Some(watchdog), Some(format!("{seconds} s")))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok((None, Some("none".to_owned()))),
        Err(error) => Err(error).with_context(|| format!("cannot start {WATCHDOG}")),
    }
}

#[cfg(test)]
mod tests {
    use super::parameter_path;

    #[test]
    fn parameters_are_named_as_sysctl_does() {
        for (name, path) in [
            ("vm.swappiness", "vm/swappiness"),
            (
                "net.ipv4.conf.eth0/10.rp_filter",
                "net/ipv4/conf/eth0.10/rp_filter",
            ),
        ] {
            assert_eq!(parameter_path(name), path);
        }
    }
}
