//! The device command of Rubus: asks the runtime's socket, and the kernel, on
//! behalf of people.

mod cli;
mod client;
mod enter;
mod logs;
mod node;
mod os;
mod root;
mod service;
mod table;
mod terminal;
mod timings;

use std::{io::Write, process::ExitCode};

use clap::{CommandFactory, Parser};

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(error) if terminal::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "ros: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    if let Command::Completions { shell } = cli.command {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "ros", &mut text);
        return terminal::print(&String::from_utf8_lossy(&text));
    }
    root::ensure()?;
    let run_dir = &cli.run;
    match cli.command {
        Command::Ps(output) => service::ps(run_dir, output.json),
        Command::Logs(options) => logs::show(run_dir, &options),
        Command::Service(command) => service::run(run_dir, command),
        Command::Os(command) => os::run(run_dir, &command),
        Command::Completions { .. } => Ok(()),
    }
}
