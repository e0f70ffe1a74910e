//! What a user without privileges meets, with a `sudo` that says what it was
//! asked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use tempfile::TempDir;

/// Somebody who is not root, for when the tests are.
const NOBODY: u32 = 65534;

const SUDO: &str = "#!/bin/sh
case \" $* \" in
  *' -l '*) [ -z \"$REFUSE\" ] || { echo \"sudo: $REFUSE\" >&2; exit 1; } ;;
  *) printf '%s\\n' \"$*\"; exit 7 ;;
esac
";

/// A folder with `ros` and a `sudo`. Written before the first process is
/// started: a file that a child still holds open for writing cannot be run.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), executable.clone()).unwrap();
    let ros = folder.path().join("ros");
    fs::copy(env!("CARGO_BIN_EXE_ros"), ros).unwrap();
    fs::write(folder.path().join("sudo"), SUDO).unwrap();
    fs::set_permissions(folder.path().join("sudo"), executable).unwrap();
    folder
});

fn ros() -> PathBuf {
    FOLDER.path().join("ros")
}

/// Runs `ros` as nobody, with variables in its environment.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(ros());
    command
        .args(arguments)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", FOLDER.path().display()))
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn a_command_runs_again_through_sudo_and_ends_as_that_does() {
    let output = run(&["logs", "--tail", "5", "a name"], &[]);
    let ros = ros().display().to_string();
    assert_eq!(
        stdout(&output),
        format!("-n -u root -- {ros} logs --tail 5 a name\n")
    );
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn the_wish_for_no_colours_goes_along() {
    let output = run(&["ps"], &[("NO_COLOR", "1")]);
    assert!(stdout(&output).ends_with(" --no-color ps\n"));
    let output = run(&["ps"], &[("NO_COLOR", "")]);
    assert!(stdout(&output).ends_with("/ros ps\n"));
}

#[test]
fn when_sudo_refuses_the_error_says_why() {
    let output = run(&["ps"], &[("REFUSE", "a password is required")]);
    assert_eq!(
        stderr(&output),
        "ros: this needs root, and sudo refuses without a password (a password is required); \
         run it with `sudo`, or as root\n"
    );
    assert_eq!(stdout(&output), "");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_needs_no_rights_asks_for_none() {
    for arguments in [&["completions", "bash"][..], &["--help"], &["os", "--help"]] {
        let output = run(arguments, &[("REFUSE", "no")]);
        assert_eq!(stderr(&output), "");
        assert_eq!(output.status.code(), Some(0));
    }
}
