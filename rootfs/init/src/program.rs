//! Programs of the system image that `init` runs in the initramfs.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Result, anyhow};
use nix::unistd::{chdir, chroot};

/// How a program ended and the end of what it printed.
pub(crate) struct Output {
    /// Its exit code; none when a signal killed it.
    pub(crate) code: Option<i32>,
    /// The last lines that it printed, as one.
    pub(crate) said: String,
}

/// How much of what a program printed goes into an error.
const SAID: usize = 300;

/// Runs a program inside the root filesystem at `root` and waits for it.
pub(crate) fn run_in(root: &str, program: &str, arguments: &[&str]) -> Result<Output> {
    let inside = root.to_owned();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).env_clear();
    // SAFETY: between fork and exec only the system calls chroot and chdir
    // happen; `inside` was allocated before.
    unsafe {
        command.pre_exec(move || {
            chroot(inside.as_str())?;
            chdir("/")?;
            Ok(())
        });
    }
    let output = command.output().map_err(|error| {
        anyhow!(
            "cannot run {program} of the system image: {error}; write the image to the card again"
        )
    })?;
    let mut printed = output.stdout;
    printed.extend(output.stderr);
    Ok(Output {
        code: output.status.code(),
        said: tail(&String::from_utf8_lossy(&printed)),
    })
}

fn tail(text: &str) -> String {
    let one_line = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ");
    match one_line.char_indices().rev().nth(SAID) {
        Some((cut, _)) => format!("...{}", &one_line[cut..]),
        None => one_line,
    }
}

#[cfg(test)]
mod tests {
    use super::{SAID, tail};

    #[test]
    fn output_becomes_one_line_of_its_end() {
        assert_eq!(tail("one\n\n  two \nthree\n"), "one; two; three");
        let long = tail(&"x".repeat(1000));
        assert_eq!(long.len(), "...".len() + SAID + 1);
    }
}
