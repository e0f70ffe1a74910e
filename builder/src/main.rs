//! Builds, runs and inspects Rubus images.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = rubus::cli::Cli::parse();
    match rubus::commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rubus: {error:#}");
            ExitCode::FAILURE
        }
    }
}
