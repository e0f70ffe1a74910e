//! The device command of Rubus: the runtime's API for people, and what the
//! system says of itself.

mod api;
mod cli;
mod client;
mod complete;
mod compose;
mod config;
mod elevate;
mod engine;
mod exec;
mod function;
mod given;
mod host;
mod inspect;
mod logs;
mod os;
mod output;
mod own;
mod power;
mod recovery;
#[cfg(test)]
mod reference;
mod roots;
#[cfg(test)]
mod samples;
mod service;
mod services;
mod table;
mod text;
mod timings;
mod tls;
mod variants;

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use rubus_config::power::PowerAction;

use cli::{Cli, Command, Os, Service};
use client::Client;
use host::Host;
use output::Output;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        // Whoever read the output has seen enough (`ros logs ntp | head`).
        Err(e) if is_closed_output(&e) => ExitCode::SUCCESS,
        Err(e) => {
            output::complain(&format!("ros: {}", text::printable(&format!("{e:#}"))));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let no_color = cli.global.no_color || output::colours_unwanted();
    if elevate::is_needed(cli, rustix::process::geteuid().is_root()) {
        elevate::again_as_root(no_color)?;
    }
    let client = Client::new(&cli.global.socket);
    let host = Host::new(&cli.global.host);
    let output = Output::detect(no_color);
    match &cli.command {
        Command::Ps(listing) => {
            services::run(&client, &cli.global.host, &Service::Ps(*listing), output)?;
        }
        Command::Logs(options) => services::logs(&client, &cli.global.host, options, output)?,
        Command::Service(command) => services::run(&client, &cli.global.host, command, output)?,
        Command::Config(command) => config::run(&client, &cli.global.host, command, output)?,
        Command::Engine(command) => variants::engine(&client, &cli.global.host, command, output)?,
        Command::Console(command) => variants::console(&client, command, output)?,
        Command::Recovery(listing) => recovery::run(&client, &host, *listing, output)?,
        Command::Tls(command) => tls::run(&cli.global.host, command, output)?,
        Command::Function(command) => function::run(&cli.global.host, command, output)?,
        Command::Os(Os::Version(listing)) => os::version(&host, *listing, output)?,
        Command::Os(Os::Status(options)) => return os::status(&client, &host, *options, output),
        Command::Os(Os::Reboot) => power::run(&client, &host, PowerAction::Reboot, output)?,
        Command::Os(Os::Poweroff) => power::run(&client, &host, PowerAction::Poweroff, output)?,
        Command::Completions { shell } => {
            output.text(&complete::script(*shell, cli::public()))?;
        }
        Command::Complete { words } => {
            complete::run(&client, &cli.global.host, words, output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether standard output was closed. Errors of the socket are never bare.
fn is_closed_output(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
