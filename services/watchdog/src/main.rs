//! `fwatchdog`: the first process of a function's container.

use std::process::ExitCode;

use watchdog::{
    config::Config,
    health::{self, Health},
    log, server,
};

const USAGE: &str = "usage: fwatchdog [-version | -run-healthcheck]";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let result = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => serve(),
        (Some("-version" | "--version"), None) => {
            println!("{}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        (Some("-run-healthcheck" | "--run-healthcheck"), None) => healthcheck(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::line(error);
            ExitCode::FAILURE
        }
    }
}

fn healthcheck() -> Result<(), String> {
    if health::lock_path().exists() {
        Ok(())
    } else {
        Err("unable to find lock file.".to_owned())
    }
}

fn serve() -> Result<(), String> {
    log::line(format_args!(
        "Version: {}\tSHA: {}",
        env!("CARGO_PKG_VERSION"),
        option_env!("RUBUS_REVISION").unwrap_or("unknown")
    ));
    let config = Config::read(|name| std::env::var(name).ok())?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?
        .block_on(server::run(config, Health::new(health::lock_path())))
}
