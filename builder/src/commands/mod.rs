//! One file a command.

mod boards;
mod build;
mod inspect;
mod lock;
mod run;
mod services;
mod variants;

use std::io::{Write, stdout};

use anyhow::Result;
use clap::CommandFactory;

use crate::{
    cli::{Cli, Command},
    services::variants::Kind,
};

/// Carries out what the command line asks for.
///
/// # Errors
/// When it cannot be done; the error is one sentence for a person.
pub fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Build(args) => build::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Lock(args) => lock::run(&args),
        Command::Boards(args) => boards::run(&args),
        Command::Services(args) => services::run(&args),
        Command::Engines(args) => variants::run(Kind::ENGINE, &args),
        Command::Consoles(args) => variants::run(Kind::CONSOLE, &args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "rubus", &mut script);
            Ok(stdout().write_all(&script)?)
        }
    }
}
