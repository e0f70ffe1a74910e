//! The programs of QEMU.

use std::{
    ffi::OsStr,
    io,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

/// Emulates the machine.
pub(super) const SYSTEM: &str = "qemu-system-aarch64";
/// Makes and converts disks.
pub(super) const IMG: &str = "qemu-img";
/// The oldest version that has all machines.
const OLDEST: (u32, u32) = (9, 0);

const WAY_OUT: &str = "install the Debian packages qemu-system-arm and qemu-utils \
                       (on Debian 12: from bookworm-backports)";

/// Checks that QEMU is there and new enough.
///
/// # Errors
/// When it is not; names the packages.
pub(super) fn check() -> Result<()> {
    let text = run(SYSTEM, ["--version"])?;
    run(IMG, ["--version"])?;
    let found = version(&text).with_context(|| format!("cannot tell the version of {SYSTEM}"))?;
    ensure!(
        found >= OLDEST,
        "QEMU {}.{} is too old: {}.{} or newer is needed; {WAY_OUT}",
        found.0,
        found.1,
        OLDEST.0,
        OLDEST.1
    );
    Ok(())
}

/// The numbers in `QEMU emulator version 10.0.2 (Debian ...)`.
fn version(text: &str) -> Option<(u32, u32)> {
    let (_, after) = text.split_once("version ")?;
    let mut numbers = after.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Runs a program of QEMU to its end and returns what it prints.
///
/// # Errors
/// When it is not there or fails.
pub(super) fn run(
    program: &str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let Output {
        status,
        stdout,
        stderr,
    } = output.map_err(|error| missing(program, error))?;
    if !status.success() {
        let text = String::from_utf8_lossy(&stderr);
        bail!("{program} failed: {}", text.trim());
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// What to say when a program cannot be started.
pub(super) fn missing(program: &str, error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::NotFound {
        anyhow::anyhow!("{program} is not installed; {WAY_OUT}")
    } else {
        anyhow::Error::new(error).context(format!("cannot run {program}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_qemu_prints() {
        let debian = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2~bpo12+1)\nCopyright";
        assert_eq!(version(debian), Some((10, 0)));
        assert_eq!(version("QEMU emulator version 7.2.11"), Some((7, 2)));
        assert_eq!(version("something else"), None);
        assert!((7, 2) < OLDEST && (10, 0) > OLDEST);
    }

    #[test]
    fn a_program_that_is_missing_names_the_packages() {
        let error = run("qemu-that-does-not-exist", ["--version"]).unwrap_err();
        assert!(error.to_string().contains("qemu-utils"), "{error}");
    }
}
