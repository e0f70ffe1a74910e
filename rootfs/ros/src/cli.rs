//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Looks after a Rubus node: its services and its system.
#[derive(Debug, Parser)]
#[command(
    name = "ros",
    version,
    after_help = "Examples:\n  ros ps                           what runs, and whether it is ready\n  ros logs docker -f               what the engine says, as it says it\n  ros service restart gateway      stop it, start it, wait until it is ready\n  ros os status --timings          where the time of the boot went"
)]
pub(crate) struct Cli {
    /// Where the runtime keeps its socket
    #[arg(long, value_name = "DIR", default_value = rubus_config::paths::RUN, hide = true, global = true)]
    pub(crate) run: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the services that run (short for `service ps`)
    Ps(Output),
    /// Show the log of a service (short for `service logs`)
    Logs(LogOptions),
    /// Look after the system services
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Look after the system
    #[command(subcommand)]
    Os(OsCommand),
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  ros completions bash > ~/.local/share/bash-completion/completions/ros"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ros logs docker --tail 20\n  ros logs gateway -f")]
pub(crate) struct LogOptions {
    /// The service
    pub(crate) name: String,
    /// Go on with what it says from now on
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "NUMBER")]
    pub(crate) tail: Option<usize>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// List all services, whether they run or not
    List(Output),
    /// List the services that run
    Ps(Output),
    /// Start services and wait until they are ready
    #[command(after_help = "Example:\n  ros service start gateway")]
    Start(Names),
    /// Stop services and wait until they are down
    #[command(after_help = "Example:\n  ros service stop gateway docker")]
    Stop(Names),
    /// Stop services, start them again, and wait until they are ready
    #[command(after_help = "Example:\n  ros service restart ntp")]
    Restart(Names),
    /// Show the log of a service
    Logs(LogOptions),
    /// Run a command inside a service
    #[command(
        after_help = "Examples:\n  ros service exec ntp -- chronyc tracking\n  ros service exec docker -- sh"
    )]
    Exec {
        /// The service
        name: String,
        /// The command and its arguments
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Names {
    /// The services
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OsCommand {
    /// Show which version runs
    Version(Output),
    /// Show how the node is
    #[command(
        after_help = "Examples:\n  ros os status\n  ros os status --timings        where the time of the boot went"
    )]
    Status {
        /// Show where the time of the boot went
        #[arg(long)]
        timings: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop all services and start the node again
    Reboot,
    /// Stop all services and switch the node off
    Poweroff,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn everything_after_two_dashes_is_the_command_inside() {
        let cli = Cli::try_parse_from(["ros", "service", "exec", "ntp", "--", "ls", "-l"]).unwrap();
        let Command::Service(ServiceCommand::Exec { name, command }) = cli.command else {
            panic!("not exec");
        };
        assert_eq!(name, "ntp");
        assert_eq!(command, ["ls", "-l"]);
    }

    #[test]
    fn wrong_usage_ends_with_2() {
        for wrong in [
            &["ros"][..],
            &["ros", "sp"],
            &["ros", "service", "start"],
            &["ros", "logs"],
        ] {
            assert_eq!(
                Cli::try_parse_from(wrong).unwrap_err().exit_code(),
                2,
                "{wrong:?}"
            );
        }
    }
}
