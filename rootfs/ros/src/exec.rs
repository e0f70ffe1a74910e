//! `ros service exec`: a command inside a service.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use rubus_config::paths;
use rubus_service::oci::PATH;
use rubus_service::status::Status;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::api;
use crate::cli::{Exec, Tty};
use crate::client::{Client, ClientError};

/// The mounts of the node itself: the OCI runtime and its state are there, not
/// in the console that `ros` may run in.
const NODE_MOUNTS: &str = "/proc/1/ns/mnt";

/// Becomes the command. Comes back only with an error.
pub(crate) fn run(client: &Client, exec: &Exec) -> Result<()> {
    match client.service(&exec.name) {
        Ok(service) => check(&service)?,
        // Looking into a service is what one wants when the runtime is gone.
        Err(ClientError::Unreachable { .. }) if is_name(&exec.name) => {}
        Err(e) => return Err(e.into()),
    }
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let term = std::env::var_os("TERM");
    let arguments = arguments(exec, terminal, term.as_ref());

    let mounts = File::open(NODE_MOUNTS)
        .with_context(|| format!("cannot open {NODE_MOUNTS}, the mounts of the node"))?;
    move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))
        .context("cannot enter the mounts of the node; `ros` must run there or in the console")?;
    let error = Command::new(paths::OCI_RUNTIME).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", paths::OCI_RUNTIME))
}

/// Refuses a service without a process.
fn check(service: &Status) -> Result<()> {
    if !api::runs(service.state) {
        bail!(
            "{name} does not run (it is {state}); start it with `ros service start {name}`",
            name = service.name,
            state = service.state.word(),
        );
    }
    Ok(())
}

/// Whether this is a name and nothing that the OCI runtime takes for an option
/// or a path.
fn is_name(name: &str) -> bool {
    !name.starts_with('-')
        && !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The arguments of the OCI runtime. A terminal inside knows which one it is;
/// crun takes what it is given for the whole environment, so that commands are
/// found only with a `PATH` too. The service's own variables do not go along:
/// they may be secret, and everybody sees arguments.
fn arguments(exec: &Exec, terminal: bool, term: Option<&OsString>) -> Vec<OsString> {
    let tty = match exec.tty {
        Tty::Auto => terminal,
        Tty::Always => true,
        Tty::Never => false,
    };
    let mut arguments: Vec<OsString> =
        vec!["--root".into(), paths::OCI_STATE.into(), "exec".into()];
    if tty {
        arguments.push("--tty".into());
        if let Some(term) = term {
            arguments.push(format!("--env=PATH={PATH}").into());
            let mut variable = OsString::from("--env=TERM=");
            variable.push(term);
            arguments.push(variable);
        }
    }
    arguments.push(exec.name.clone().into());
    arguments.extend(exec.command.iter().cloned());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::service;
    use rubus_service::status::State;

    fn exec(tty: Tty) -> Exec {
        Exec {
            tty,
            name: "ntp".into(),
            command: vec!["sh".into(), "-c".into(), "exit 3".into()],
        }
    }

    #[test]
    fn the_command_goes_to_the_oci_runtime_word_by_word() {
        assert_eq!(
            arguments(&exec(Tty::Auto), false, Some(&"linux".into())),
            [
                "--root",
                "/run/rubus/crun",
                "exec",
                "ntp",
                "sh",
                "-c",
                "exit 3"
            ]
        );
    }

    #[test]
    fn a_terminal_goes_along_when_there_is_one_or_it_is_asked_for() {
        let has_tty = |tty, terminal| {
            arguments(&exec(tty), terminal, None).contains(&OsString::from("--tty"))
        };
        assert!(has_tty(Tty::Auto, true));
        assert!(!has_tty(Tty::Auto, false));
        assert!(has_tty(Tty::Always, false));
        assert!(!has_tty(Tty::Never, true));
    }

    #[test]
    fn a_terminal_brings_its_name() {
        let arguments = arguments(&exec(Tty::Auto), true, Some(&"xterm".into()));
        let path = format!("--env=PATH={PATH}");
        assert_eq!(arguments[3..7], ["--tty", &path, "--env=TERM=xterm", "ntp"]);
    }

    #[test]
    fn a_service_that_does_not_run_cannot_be_entered() {
        assert!(check(&service("ntp", State::Unhealthy)).is_ok());
        assert_eq!(
            check(&service("ntp", State::Backoff))
                .unwrap_err()
                .to_string(),
            "ntp does not run (it is backoff); start it with `ros service start ntp`"
        );
    }

    #[test]
    fn without_the_runtime_only_a_plain_name_is_passed_on() {
        assert!(is_name("ntp"));
        for name in ["", "-d", "--root=/", "../x", "a b"] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
