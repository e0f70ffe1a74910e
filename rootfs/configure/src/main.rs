//! Reads, merges and renders the settings of a node.
//!
//! A program of its own, so that files which anybody may have written are not
//! read inside process 1:
//!
//! - `configure boot` is called by `init`: image, first-boot files and what was
//!   set on the node become `/run/rubus/config.json`;
//! - `configure apply` takes a new layer of the node on standard input, for
//!   programs that manage nodes;
//! - `configure expire` is called by the runtime: settings whose trial is over
//!   are taken back.

mod apply;
mod boot;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use rubus_config::keys::Schema;
use rubus_config::node::Node;
use rustix::time::{ClockId, clock_gettime};

const USAGE: &str = "usage: configure boot|apply|expire [--dry-run] [--root DIR]";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    verb: Verb,
    /// The root of the node's filesystem.
    root: PathBuf,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Boot,
    Apply { dry_run: bool },
    Expire,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("configure: {message}; {USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("configure: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    match options.verb {
        Verb::Boot => boot::run(&options.root),
        Verb::Apply { dry_run } => apply::run(&options.root, dry_run),
        Verb::Expire => Ok(Node::new(&options.root).expire(&Schema::default(), now_us())?),
    }
}

/// Microseconds since the kernel started.
fn now_us() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000_000 + nanoseconds / 1_000
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options, String> {
    let mut verb = None;
    let mut dry_run = false;
    let mut root = PathBuf::from("/");
    let mut parser = lexopt::Parser::from_args(args);
    let wrong = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(wrong)? {
        match argument {
            lexopt::Arg::Long("root") => root = parser.value().map_err(wrong)?.into(),
            lexopt::Arg::Long("dry-run") => dry_run = true,
            lexopt::Arg::Value(word) if verb.is_none() => {
                verb = Some(match word.to_str() {
                    Some("boot") => Verb::Boot,
                    Some("apply") => Verb::Apply { dry_run: false },
                    Some("expire") => Verb::Expire,
                    _ => return Err(format!("there is no verb {word:?}")),
                });
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    let verb = match verb {
        Some(Verb::Apply { .. }) => Verb::Apply { dry_run },
        Some(_) if dry_run => return Err("`--dry-run` is for `apply`".to_owned()),
        Some(verb) => verb,
        None => return Err("a verb is missing".to_owned()),
    };
    Ok(Options { verb, root })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_command_line_is_a_verb_and_where_the_node_is() {
        let options = |verb, root: &str| Options {
            verb,
            root: root.into(),
        };
        assert_eq!(parsed("boot"), Ok(options(Verb::Boot, "/")));
        assert_eq!(
            parsed("--root /x apply --dry-run"),
            Ok(options(Verb::Apply { dry_run: true }, "/x"))
        );
        assert_eq!(parsed("expire"), Ok(options(Verb::Expire, "/")));
        for line in [
            "",
            "reboot",
            "boot apply",
            "boot --dry-run",
            "expire --dry-run",
            "boot --x",
            "boot --root",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
