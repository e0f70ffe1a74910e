//! The command line, as clap reads it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use rubus_config::paths;

use crate::config::cli::How;

/// The device command of Rubus: settings, services, and the system itself.
#[derive(Debug, Parser)]
#[command(
    name = "ros",
    version,
    propagate_version = false,
    after_help = "\
Examples:
  ros ps                      what runs
  ros logs -f docker          what the engine says, as it says it
  ros service restart ntp     start a service anew
  ros config set hostname n1  change a setting
  ros engine list             which Docker engines there are
  ros os status               how the node is
  ros os status --timings     where the time of the boot went

Exit status: 0 done, 1 failed, 2 wrong usage."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where `ros` looks, and what it was told by the `ros` that called it.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// The socket of the runtime.
    #[arg(long, global = true, hide = true, value_name = "PATH", default_value = paths::RUNTIME_SOCKET)]
    pub(crate) socket: PathBuf,
    /// The root of the node's own filesystem, seen from here: `ros` may run in
    /// a console, which is a container.
    #[arg(long, global = true, hide = true, value_name = "DIR", default_value = crate::host::ROOT)]
    pub(crate) host: PathBuf,
    /// No colours, even on a terminal. Carries `NO_COLOR` through sudo.
    #[arg(long, global = true, hide = true)]
    pub(crate) no_color: bool,
}

/// The commands and options that are not hidden: what completions offer.
pub(crate) fn public() -> clap::Command {
    let all = Command::augment_subcommands(clap::Command::new("ros"));
    let shown = all.get_subcommands().filter(|it| !it.is_hide_set());
    clap::Command::new("ros").subcommands(shown.cloned().collect::<Vec<_>>())
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the services that run or keep failing (short for `ros service ps`)
    #[command(after_help = PS_EXAMPLES)]
    Ps(Listing),
    /// Show the log of a service (short for `ros service logs`)
    #[command(after_help = LOGS_EXAMPLES)]
    Logs(Logs),
    /// List, start, stop and look into system services
    #[command(
        subcommand,
        after_help = "\
Examples:
  ros service list
  ros service restart ntp
  ros service exec ntp -- chronyc tracking"
    )]
    Service(Service),
    /// Show and change the settings of the node
    #[command(
        subcommand,
        after_help = "\
Examples:
  ros config get network
  ros config set hostname node1
  ros config schema --list    every key, and what it means"
    )]
    Config(crate::config::cli::Config),
    /// List and switch Docker engines
    #[command(
        subcommand,
        after_help = "\
Examples:
  ros engine list
  ros engine switch docker-28"
    )]
    Engine(crate::variants::cli::Engine),
    /// List and switch consoles, in which people log in
    #[command(
        subcommand,
        after_help = "\
Examples:
  ros console list
  ros console switch debian"
    )]
    Console(crate::variants::cli::Console),
    /// Make certificates for the engine's API over the network
    #[command(
        subcommand,
        after_help = "\
Examples:
  ros tls generate && ros config set docker.tcp true"
    )]
    Tls(crate::tls::Tls),
    /// Look into the functions gateway
    #[command(
        subcommand,
        after_help = "\
Examples:
  ros function credentials"
    )]
    Function(crate::function::Function),
    /// Show, restart and switch off the system
    #[command(
        subcommand,
        after_help = "\
Examples:
  ros os status
  ros os reboot"
    )]
    Os(Os),
    /// Show what can be done when something is broken, and do it
    ///
    /// Each line of the list is a command. A node whose kernel command line has
    /// `rubus.recovery` shows the list on its screen and serial console without
    /// a login, and runs the engine and the console of the image.
    #[command(after_help = "\
Examples:
  ros recovery
  ssh rubus@node1.local ros recovery --json | jq -r '.[].what'")]
    Recovery(Listing),
    /// Print a script that completes `ros` commands in a shell
    #[command(after_help = "\
Examples:
  ros completions fish | source
  source <(ros completions bash)
  source <(ros completions zsh)

Keys, values, time zones and names of services are asked of the node.")]
    Completions {
        /// The shell that reads the script
        shell: Shell,
    },
    /// Print what the last word may become; scripts of completions ask this
    #[command(
        hide = true,
        after_help = "\
Examples:
  ros complete -- config set timezone Eu"
    )]
    Complete {
        /// The words so far, without `ros`
        #[arg(last = true)]
        words: Vec<String>,
    },
}

/// System services.
#[derive(Debug, Subcommand)]
pub(crate) enum Service {
    /// List all services
    #[command(after_help = "\
Examples:
  ros service list
  ssh rubus@node1.local ros service list --json | jq -r '.[] | select(.state == \"failed\") | .name'")]
    List(Listing),
    /// List the services that run or keep failing
    #[command(after_help = PS_EXAMPLES)]
    Ps(Listing),
    /// Start services and wait until they are ready
    #[command(after_help = "\
Examples:
  ros service start ntp
  ros service start ntp gateway")]
    Start(Names),
    /// Stop services and wait until they have ended
    ///
    /// They start again at the next boot; `ros service disable` stops them for
    /// good.
    #[command(after_help = "\
Examples:
  ros service stop ntp")]
    Stop(Names),
    /// Stop services, start them again and wait until they are ready
    #[command(after_help = "\
Examples:
  ros service restart ntp
  ros service restart gateway docker")]
    Restart(Names),
    /// Start services now and at every boot
    ///
    /// Sets `services.NAME` of the configuration.
    #[command(after_help = "\
Examples:
  ros service enable node-exporter
  ros service enable --dry-run ntp gateway")]
    Enable(Switch),
    /// Stop services now and at every boot
    ///
    /// Sets `services.NAME` of the configuration. Services that wait for one of
    /// them are named.
    #[command(after_help = "\
Examples:
  ros service disable gateway
  ros service disable --try 60s wifi")]
    Disable(Switch),
    /// Add services of your own: a `service.toml`, or a compose file
    ///
    /// Of a `service.toml` (a file that ends in `.toml`) the root is an image:
    /// `image = "nginx:1.27"`, which the engine fetches, or an archive beside
    /// the file, `image = "./web.tar"`. The service starts unless it says
    /// `enabled = false`, now and at every boot, as those of the image of the
    /// node do. What is there under its name and was added is replaced.
    ///
    /// What a compose file defines runs in the engine, once it is enabled. What
    /// is not supported of either is an error that names it.
    #[command(after_help = "\
Examples:
  ros service add mosquitto.toml
  ros service add --name broker services/mosquitto/service.toml
  ros service add web.yaml && ros service enable web")]
    Add(Add),
    /// End services that were added, and forget them
    ///
    /// The root of a service of your own is deleted, with what was written to
    /// it; what it wrote to its mounts stays, as do volumes of a compose file.
    #[command(after_help = "\
Examples:
  ros service remove web")]
    Remove(Names),
    /// Show all there is to know of a service
    ///
    /// Its state and how it last ended, what it waits for, what it may use, see
    /// and do, and which settings it reads.
    #[command(after_help = "\
Examples:
  ros service inspect ntp
  ssh rubus@node1.local ros service inspect --json docker | jq .definition.mounts")]
    Inspect(Inspect),
    /// Show the log of a service
    #[command(after_help = LOGS_EXAMPLES)]
    Logs(Logs),
    /// Run a command inside a service
    ///
    /// Ends with the exit status of the command.
    #[command(after_help = "\
Examples:
  ros service exec ntp -- chronyc tracking
  ros service exec console -- bash
  ros service exec -t never udev -- udevadm info --export-db > devices")]
    Exec(Exec),
}

/// The system itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Os {
    /// Show which image runs
    #[command(after_help = "\
Examples:
  ros os version
  ssh rubus@node1.local ros os version --json | jq -r .build_id")]
    Version(Listing),
    /// Show how the node is: image, slot, memory, disk, services
    #[command(after_help = "\
Examples:
  ros os status
  ros os status --timings     the boot, step by step
  ros os status --check || echo something is wrong")]
    Status(Status),
    /// Stop all services and start the board again
    #[command(after_help = "\
Examples:
  ros os reboot")]
    Reboot,
    /// Stop all services and switch the board off
    #[command(after_help = "\
Examples:
  ros os poweroff")]
    Poweroff,
}

/// How to list.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Listing {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Services to act on.
#[derive(Args, Debug)]
pub(crate) struct Names {
    /// Names of services, as in `ros service list`
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Services to turn on or off.
#[derive(Args, Debug)]
pub(crate) struct Switch {
    #[command(flatten)]
    pub(crate) how: How,
    #[command(flatten)]
    pub(crate) names: Names,
}

/// What to add.
#[derive(Args, Debug)]
pub(crate) struct Add {
    /// The service.toml or compose file; `-` reads standard input
    pub(crate) file: PathBuf,
    /// What to call it, instead of what the file says or is called
    #[arg(long)]
    pub(crate) name: Option<String>,
}

/// What to look into.
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Name of the service, as in `ros service list`
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which log, and how much of it.
#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// Name of the service, as in `ros service list`
    pub(crate) name: String,
    /// Go on as the service writes, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last N lines
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) tail: Option<u32>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to run, and where.
#[derive(Args, Debug)]
pub(crate) struct Exec {
    /// Whether the command gets a terminal; by default when this command has one
    #[arg(short, long, value_name = "WHEN", default_value = "auto")]
    pub(crate) tty: Tty,
    /// Name of the service, as in `ros service list`
    pub(crate) name: String,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// Whether a command gets a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tty {
    /// When standard input and output are terminals
    Auto,
    /// Yes
    Always,
    /// No
    Never,
}

/// What to report.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Status {
    /// The boot instead, from the start of the kernel to each service ready
    #[arg(long)]
    pub(crate) timings: bool,
    /// Fail (exit status 1) when a service that should be ready is not
    #[arg(long, conflicts_with = "timings")]
    pub(crate) check: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const PS_EXAMPLES: &str = "\
Examples:
  ros ps
  ssh rubus@node1.local ros ps --json | jq -r '.[].name'";

const LOGS_EXAMPLES: &str = "\
Examples:
  ros logs ntp
  ros logs -f --tail 20 docker
  ssh rubus@node1.local ros logs --json gateway | jq -r .text";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_and_examples() {
        fn check(command: &clap::Command) {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} has no help");
            let after = command.get_after_help().map(ToString::to_string);
            assert!(
                after.is_some_and(|text| text.contains("Examples:\n  ros ")),
                "{name} has no examples"
            );
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn what_follows_two_dashes_is_the_command() {
        let cli = Cli::parse_from(["ros", "service", "exec", "ntp", "--", "sh", "-c", "--json"]);
        let Command::Service(Service::Exec(exec)) = cli.command else {
            panic!("not exec: {cli:?}");
        };
        assert_eq!(exec.name, "ntp");
        assert_eq!(exec.tty, Tty::Auto);
        assert_eq!(exec.command, ["sh", "-c", "--json"]);
    }
}
