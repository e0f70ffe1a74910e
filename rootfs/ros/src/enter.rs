//! Running a command inside a service.

use std::{fs::File, io::IsTerminal, os::unix::process::CommandExt, path::Path, process::Command};

use anyhow::{Context, bail};
use rubus_config::paths;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The mounts of the node: those of process 1, whose processes the console
/// sees.
const NODE_MOUNTS: &str = "/proc/1/ns/mnt";

/// Becomes the OCI runtime's `exec`. It lies on the node, as do the bundles,
/// so this leaves the mounts of the console first.
pub(crate) fn exec(run: &Path, service: &str, command: &[String]) -> anyhow::Result<()> {
    let mounts = File::open(NODE_MOUNTS).with_context(|| format!("cannot open {NODE_MOUNTS}"))?;
    move_into_link_name_space(
        std::os::fd::AsFd::as_fd(&mounts),
        Some(LinkNameSpaceType::Mount),
    )
    .context("cannot enter the mounts of the node")?;
    let mut exec = Command::new(paths::OCI_RUNTIME);
    exec.arg("--root").arg(run.join("crun")).arg("exec");
    if std::io::stdin().is_terminal() {
        exec.arg("--tty");
    }
    let error = exec.arg(service).args(command).exec();
    bail!("cannot run {}: {error}", paths::OCI_RUNTIME)
}
