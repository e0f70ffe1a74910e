//! Becoming root: the runtime answers to nobody else.

use std::{os::unix::process::CommandExt, process::Command};

use anyhow::bail;

/// Returns if this is root, and otherwise becomes `sudo -n` of itself.
pub(crate) fn ensure() -> anyhow::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let way_out = "run it as root or as a user that may use sudo without a password";
    let error = Command::new("sudo")
        .args(["-n", "-u", "root", "--"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .exec();
    bail!("this needs root, and sudo cannot be run ({error}); {way_out}");
}
