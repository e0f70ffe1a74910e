//! Programs of the system image that `init` runs before it supervises anything.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
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

/// Runs a program of the running system; one that takes too long is killed.
/// What it prints on standard error must fit into a pipe.
pub(crate) fn run_briefly(program: &str, arguments: &[&str], longest: Duration) -> Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .env_clear()
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait")? {
            break status;
        }
        if begin.elapsed() >= longest {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{program} did not end within {} s", longest.as_secs());
        }
        thread::sleep(Duration::from_millis(2));
    };
    if status.success() {
        return Ok(());
    }
    let mut printed = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut printed);
    }
    bail!("{program} failed ({status}): {}", tail(&printed));
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
    use std::time::{Duration, Instant};

    use super::{SAID, run_briefly, tail};

    #[test]
    fn a_program_that_fails_or_hangs_is_an_error_that_says_so() {
        let run = |script: &str| {
            let longest = Duration::from_millis(300);
            run_briefly("/bin/sh", &["-c", script], longest).map_err(|e| e.to_string())
        };
        assert_eq!(run("true"), Ok(()));
        let failed = run("echo why >&2; exit 3").unwrap_err();
        assert!(
            failed.contains('3') && failed.ends_with(": why"),
            "{failed}"
        );
        let begin = Instant::now();
        assert!(run("exec sleep 60").unwrap_err().contains("did not end"));
        assert!(begin.elapsed() < Duration::from_secs(30));
        assert!(run_briefly("/nonexistent", &[], Duration::ZERO).is_err());
    }

    #[test]
    fn output_becomes_one_line_of_its_end() {
        assert_eq!(tail("one\n\n  two \nthree\n"), "one; two; three");
        let long = tail(&"x".repeat(1000));
        assert_eq!(long.len(), "...".len() + SAID + 1);
    }
}
