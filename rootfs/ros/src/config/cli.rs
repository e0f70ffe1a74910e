//! The command line of `ros config`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};
use rubus_service::units::Period;

/// Settings.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Show a setting, or all of them
    #[command(after_help = "\
Examples:
  ros config get hostname
  ros config get network.interfaces.eth0
  ssh rubus@node1.local ros config get --json | jq .docker")]
    Get(Get),
    /// Change a setting
    ///
    /// The value is checked, stored so that a power cut cannot harm it, and the
    /// services that it concerns restart. Several values make a list.
    #[command(after_help = "\
Examples:
  ros config set hostname node1
  ros config set ntp.servers time1.lan time2.lan
  ros config set network.interfaces.eth0 '{ addresses = [\"10.0.0.5/8\"], gateway4 = \"10.0.0.1\" }'
  ros config set --dry-run ssh.port 2222
  ros config set --try 60s network.interfaces.eth0.addresses 10.0.0.5/8")]
    Set(Set),
    /// Take a setting back: that of the image or the default counts again
    #[command(after_help = "\
Examples:
  ros config unset ssh.port
  ros config unset users.anna")]
    Unset(Unset),
    /// Keep the settings that are on trial (`--try`)
    #[command(after_help = "\
Examples:
  ros config set --try 60s network.interfaces.eth0.addresses 10.0.0.5/8
  ros config confirm")]
    Confirm,
    /// Take the settings that are on trial back at once
    #[command(after_help = "\
Examples:
  ros config revert")]
    Revert,
    /// Print every setting that differs from its default, as TOML
    #[command(after_help = "\
Examples:
  ros config export > node1.toml
  ros config export --private > backup.toml")]
    Export(Export),
    /// Lay a file of settings over those of the node
    #[command(after_help = "\
Examples:
  ros config merge node1.toml
  ssh rubus@node1.local ros config export --private | ros config merge --dry-run -")]
    Merge(Merge),
    /// Check a file of settings without using it
    #[command(after_help = "\
Examples:
  ros config validate node1.toml")]
    Validate(File),
    /// Print the JSON Schema of the settings, or a list of all keys
    #[command(after_help = "\
Examples:
  ros config schema > rubus.schema.json
  ros config schema --list")]
    Schema(List),
}

/// What to show.
#[derive(Args, Debug)]
pub(crate) struct Get {
    /// The key, with dots between the levels; without one, everything
    pub(crate) key: Option<String>,
    /// Show secrets too
    #[arg(long)]
    pub(crate) private: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to change.
#[derive(Args, Debug)]
pub(crate) struct Set {
    #[command(flatten)]
    pub(crate) how: How,
    /// The key, with dots between the levels
    pub(crate) key: String,
    /// The value; lists and tables may be written as in TOML. One that begins
    /// with a dash comes after `--`
    #[arg(required = true, value_name = "VALUE", allow_negative_numbers = true)]
    pub(crate) values: Vec<String>,
}

/// What to take back.
#[derive(Args, Debug)]
pub(crate) struct Unset {
    #[command(flatten)]
    pub(crate) how: How,
    /// The key, with dots between the levels
    pub(crate) key: String,
}

/// How to make a change.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct How {
    /// Check the change and show what it would restart, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Take the change back after this time, unless `ros config confirm` comes
    /// first; a reboot takes it back too
    #[arg(long = "try", value_name = "TIME", conflicts_with = "dry_run", value_parser = trial_time)]
    pub(crate) trial: Option<Period>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl How {
    /// Whether the change is not to stay.
    pub(crate) const fn is_tentative(self) -> bool {
        self.dry_run || self.trial.is_some()
    }

    /// When a trial that begins now ends: microseconds since the kernel
    /// started.
    pub(crate) fn ends_us(self, now_us: u64) -> Option<u64> {
        let lasts = self.trial?.0.as_micros();
        Some(now_us.saturating_add(u64::try_from(lasts).unwrap_or(u64::MAX)))
    }
}

/// Reads how long a trial lasts.
fn trial_time(text: &str) -> Result<Period, String> {
    const SHORTEST: Period = Period(Duration::from_secs(5));
    const LONGEST: Period = Period(Duration::from_secs(24 * 3600));
    let period: Period = text.parse()?;
    if (SHORTEST..=LONGEST).contains(&period) {
        Ok(period)
    } else {
        Err(format!("a trial lasts {SHORTEST} to {LONGEST}"))
    }
}

/// How to export.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Export {
    /// Export secrets too
    #[arg(long)]
    pub(crate) private: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to merge.
#[derive(Args, Debug)]
pub(crate) struct Merge {
    #[command(flatten)]
    pub(crate) how: How,
    #[command(flatten)]
    pub(crate) file: File,
}

/// A file of settings.
#[derive(Args, Debug)]
pub(crate) struct File {
    /// A file in TOML, or - for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
}

/// How to show the schema.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct List {
    /// List all keys instead
    #[arg(long)]
    pub(crate) list: bool,
}
