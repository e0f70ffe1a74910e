//! Getting the rights that the runtime's socket asks for.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use rubus_config::paths;

use crate::cli::{Cli, Command as Ros};
use crate::config::cli::Config;

/// Whether a command line needs more rights than this process has. A socket
/// that the caller names is theirs to reach.
pub(crate) fn is_needed(cli: &Cli, root: bool) -> bool {
    !root
        && !matches!(
            cli.command,
            Ros::Completions { .. } | Ros::Config(Config::Schema(_) | Config::Validate(_))
        )
        && cli.global.socket == Path::new(paths::RUNTIME_SOCKET)
}

/// Becomes the same command as root. Comes back only with an error.
pub(crate) fn again_as_root(no_color: bool) -> Result<()> {
    let program = std::env::current_exe().context("cannot find out where `ros` itself is")?;
    let given: Vec<OsString> = std::env::args_os().skip(1).collect();
    let arguments = arguments(program.as_os_str(), &given, no_color);

    // sudo ends with 1 both when it refuses and when the command fails, so it
    // is asked first; it says nothing then but why not.
    let answer = Command::new("sudo")
        .args(["-n", "-u", "root", "-l"])
        .args(&arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| anyhow!("this needs root, and sudo cannot be started: {e}; run it as root"))?;
    if !answer.status.success() {
        bail!("{}", refusal(&String::from_utf8_lossy(&answer.stderr)));
    }
    let error = Command::new("sudo")
        .args(["-n", "-u", "root"])
        .args(&arguments)
        .exec();
    Err(anyhow!(
        "this needs root, and sudo cannot be started: {error}"
    ))
}

/// What follows sudo's own options. sudo clears the environment, so what
/// `NO_COLOR` says goes along as an option.
fn arguments(program: &OsStr, given: &[OsString], no_color: bool) -> Vec<OsString> {
    let mut all = vec![OsString::from("--"), program.to_owned()];
    all.extend(no_color.then(|| OsString::from("--no-color")));
    all.extend_from_slice(given);
    all
}

/// The error when sudo says no.
fn refusal(stderr: &str) -> String {
    let line = stderr.lines().find(|line| !line.trim().is_empty());
    let why = line.map_or_else(
        || "this user may not run ros".to_owned(),
        |line| crate::text::printable(line.trim().trim_start_matches("sudo: ")).into_owned(),
    );
    format!(
        "this needs root, and sudo refuses without a password ({why}); run it with `sudo`, or as root"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn needed(line: &str, root: bool) -> bool {
        is_needed(&Cli::parse_from(line.split(' ')), root)
    }

    #[test]
    fn what_speaks_to_the_runtime_needs_root() {
        assert!(needed("ros ps", false));
        assert!(needed("ros os reboot", false));
        assert!(needed("ros os version", false));
    }

    #[test]
    fn root_and_scripts_of_completions_need_nothing() {
        assert!(!needed("ros ps", true));
        assert!(!needed("ros completions bash", false));
        assert!(!needed("ros config schema", false));
        assert!(!needed("ros config validate x.toml", false));
        assert!(needed("ros config get", false));
    }

    #[test]
    fn a_socket_that_is_named_is_tried_as_it_is() {
        assert!(!needed("ros --socket /tmp/x ps", false));
    }

    #[test]
    fn the_command_line_goes_through_sudo_unchanged() {
        let given = [OsString::from("service"), OsString::from("--help me")];
        assert_eq!(
            arguments(OsStr::new("/usr/bin/ros"), &given, false),
            ["--", "/usr/bin/ros", "service", "--help me"]
        );
        assert_eq!(
            arguments(OsStr::new("/usr/bin/ros"), &given[..1], true),
            ["--", "/usr/bin/ros", "--no-color", "service"]
        );
    }

    #[test]
    fn a_refusal_says_why_in_one_sentence() {
        assert_eq!(
            refusal("sudo: a password is required\n"),
            "this needs root, and sudo refuses without a password (a password is required); \
             run it with `sudo`, or as root"
        );
        assert!(refusal("").contains("(this user may not run ros)"));
    }
}
