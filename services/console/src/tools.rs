//! The programs of others that are used here, and small things done to the
//! system for those who log in.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt, symlink},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use rubus_config::{files, paths::ENGINE_SOCKET};

use crate::{supervisor::Program, terminals::Terminal};

/// Where everyone looks for it.
const USUAL_SOCKET: &str = "/run/docker.sock";

/// What sshd is told; see [`crate::people::sshd_config`].
pub(crate) const SSHD_CONFIG: &str = "/run/console/sshd_config";

/// sshd, in the foreground, logging to standard error.
pub(crate) fn sshd() -> Program {
    let mut command = Command::new("/usr/sbin/sshd");
    command
        .args(["-D", "-e", "-f", SSHD_CONFIG])
        .stdin(Stdio::null());
    Program {
        name: "sshd".to_owned(),
        command,
        stop_signal: Signal::SIGTERM,
    }
}

/// A login prompt on a terminal, or what can be done without one when the node
/// was started for recovery. It runs in a session of its own: only so can
/// the terminal be its controlling one, and Ctrl-C reaches what runs there.
pub(crate) fn getty(terminal: &Terminal, recovery: bool) -> Program {
    let mut command = Command::new("/usr/sbin/agetty");
    if recovery {
        command.args(["--skip-login", "--login-program", "/usr/bin/ros"]);
        command.args(["--login-options", "recovery"]);
    }
    command
        .args([
            "--noclear",
            "--nohints",
            "--issue-file",
            "/run/console/issue",
        ])
        // Serial lines keep the speed that the kernel set.
        .args(["--keep-baud", "115200,57600,38400,9600"])
        .args([&terminal.name, terminal.kind])
        .stdin(Stdio::null());
    // SAFETY: between fork and exec nothing but the system call setsid is made.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            Ok(())
        });
    }
    Program {
        name: format!("getty on {}", terminal.name),
        command,
        // Shells do not end by SIGTERM.
        stop_signal: Signal::SIGHUP,
    }
}

/// Makes an Ed25519 key pair without a passphrase.
///
/// # Errors
/// When ssh-keygen does not succeed.
pub(crate) fn ssh_keygen(key: &Path) -> Result<(), String> {
    let status = Command::new("/usr/bin/ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
        .arg(key)
        .status()
        .map_err(|error| format!("cannot run ssh-keygen: {error}"))?;
    if !status.success() {
        return Err(format!("ssh-keygen made no host key ({status})"));
    }
    Ok(())
}

/// Makes a folder that only root may change.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make_folder(path: &Path) -> Result<(), String> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(|error| format!("cannot make {}: {error}", path.display()))
}

/// Replaces a file in memory as a whole.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    files::replace_lazily(path, text.as_bytes(), mode)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Lets `docker` find the engine without being told.
///
/// # Errors
/// When the link cannot be made.
pub(crate) fn link_docker_socket() -> Result<(), String> {
    match symlink(ENGINE_SOCKET, USUAL_SOCKET) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(format!("cannot link {USUAL_SOCKET}: {error}"))
        }
        _ => Ok(()),
    }
}

/// Makes the link that says the time zone, where that is not a file of the
/// node: tzdata reads it, and puts another in its place.
///
/// # Errors
/// When the link cannot be made.
pub(crate) fn link_time_zone(link: &Path, zone: &str) -> Result<(), String> {
    let target = Path::new("/usr/share/zoneinfo").join(zone);
    if fs::read_link(link).is_ok_and(|found| found == target) {
        return Ok(());
    }
    let mut temporary = link.as_os_str().to_owned();
    temporary.push(".console");
    // A power cut may have left it.
    let _ = fs::remove_file(&temporary);
    symlink(&target, &temporary)
        .and_then(|()| fs::rename(&temporary, link))
        .map_err(|error| format!("cannot make the link {}: {error}", link.display()))
}

/// Lets everyone use `ping`: without a maintainer script it has no capability
/// of its own.
///
/// # Errors
/// When the kernel's setting cannot be written.
pub(crate) fn allow_ping() -> Result<(), String> {
    let path = "/proc/sys/net/ipv4/ping_group_range";
    fs::write(path, "0 2147483647").map_err(|error| format!("cannot write {path}: {error}"))
}
