//! What happens when the boot cannot go on.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::unistd::{chdir, chroot, setsid};
use rubus_config::power::PowerAction;

use crate::cmdline::Cmdline;
use crate::initramfs::SYSTEM;
use crate::steps::Failed;
use crate::{log, shutdown};

/// How long a person has to read why.
const PAUSE: Duration = Duration::from_secs(30);

/// Folders below which a root filesystem with a shell may lie: the initramfs
/// or system root itself, the system image that is mounted but not yet
/// entered, and the console service of either.
const SHELL_ROOTS: &[&str] = &[
    "/",
    SYSTEM,
    "/usr/lib/rubus/services/console/rootfs",
    "/system/usr/lib/rubus/services/console/rootfs",
];
const SHELL: &str = "/bin/sh";

/// What follows when the boot stops.
#[derive(Debug, PartialEq, Eq)]
enum Response<'a> {
    /// A shell in this root filesystem, then a new start.
    Shell(&'a str),
    /// Waiting for a person to switch off.
    Wait,
    /// A pause, then a new start.
    Retry,
}

/// Decides: a person who asked for it gets a shell where there is one, and is
/// never cut short by a restart; a node that is alone tries again.
fn response(rescue: bool, shell_root: Option<&str>) -> Response<'_> {
    match (rescue, shell_root) {
        (true, Some(root)) => Response::Shell(root),
        (true, None) => Response::Wait,
        (false, _) => Response::Retry,
    }
}

/// Shows why the boot stopped, lets a person look, and starts the machine
/// again.
pub(crate) fn give_up(failed: &Failed) -> ! {
    log::error(&failed.to_string());
    let shell_root = SHELL_ROOTS
        .iter()
        .copied()
        .find(|root| Path::new(&format!("{root}{SHELL}")).exists());
    match response(Cmdline::of_kernel().rescue, shell_root) {
        Response::Shell(root) => {
            log::error("rescue shell; its end starts the machine again");
            match shell(root) {
                Ok(status) => log::error(&format!("the rescue shell ended: {status}")),
                Err(error) => {
                    log::error(&format!("cannot start the rescue shell in {root}: {error}"));
                    thread::sleep(PAUSE);
                }
            }
        }
        Response::Wait => {
            log::error("this image has no rescue shell; switch off when you have read this");
            loop {
                thread::sleep(PAUSE);
            }
        }
        Response::Retry => {
            log::error(&format!(
                "starting again in {} seconds; rubus.rescue on the kernel command line stops here",
                PAUSE.as_secs()
            ));
            thread::sleep(PAUSE);
        }
    }
    shutdown::put_away();
    shutdown::leave(PowerAction::Reboot)
}

fn shell(root: &str) -> std::io::Result<ExitStatus> {
    let console = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/console")?;
    let root = CString::new(root)?;
    let mut command = Command::new(SHELL);
    command
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::from(console.try_clone()?))
        .stdout(Stdio::from(console.try_clone()?))
        .stderr(Stdio::from(console));
    // SAFETY: between fork and exec there are system calls only; `root` was
    // allocated before.
    unsafe {
        command.pre_exec(move || {
            chroot(root.as_c_str())?;
            chdir("/")?;
            // A session of its own, with the console as its terminal, so that
            // Ctrl-C works.
            setsid()?;
            control_terminal();
            Ok(())
        });
    }
    command.status()
}

/// Makes standard input the terminal of this session. A console that is none
/// serves all the same.
fn control_terminal() {
    // SAFETY: the request takes a plain number.
    unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY as libc::Ioctl, 0) };
}

#[cfg(test)]
mod tests {
    use super::{Response, response};

    #[test]
    fn a_node_that_is_alone_tries_again() {
        assert_eq!(response(false, None), Response::Retry);
        assert_eq!(response(false, Some("/")), Response::Retry);
    }

    #[test]
    fn a_person_gets_a_shell_or_all_the_time_to_read() {
        assert_eq!(response(true, Some("/")), Response::Shell("/"));
        assert_eq!(response(true, None), Response::Wait);
    }
}
