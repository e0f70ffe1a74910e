//! Builds, runs and inspects Rubus images.

use std::{io, process::ExitCode};

use clap::Parser;

fn main() -> ExitCode {
    let cli = rubus::cli::Cli::parse();
    match rubus::commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough (`rubus services | head`).
        Err(error) if is_closed_output(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rubus: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether standard output was closed. Other errors of this kind have words
/// around them.
fn is_closed_output(error: &anyhow::Error) -> bool {
    error.chain().len() == 1
        && error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
