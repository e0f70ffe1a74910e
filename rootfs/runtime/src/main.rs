//! Starts and supervises the system services of Rubus as OCI containers.
//!
//! The lives of services are decided by pure functions ([`machine`],
//! [`supervisor`], [`switch`]); [`daemon`] carries out what they say and tells them what
//! happened. When this process is killed, services go on, and the next one
//! takes them over ([`takeover`]).

mod api;
mod bundle;
mod cause;
mod cgroup;
mod clients;
mod clock;
mod daemon;
mod http;
mod jobs;
mod keep;
mod lines;
mod logs;
mod machine;
mod options;
mod own;
mod owning;
mod probe;
mod process;
mod reactor;
mod report;
mod ring;
mod rules;
mod saved;
mod serve;
mod settings;
mod supervisor;
mod switch;
mod switching;
mod takeover;
mod tidy;
mod trial;
mod variants;

use std::process::ExitCode;

use crate::report::report;

fn main() -> ExitCode {
    let options = match options::Options::parse(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            report(format_args!("{message}"));
            return ExitCode::from(2);
        }
    };
    match daemon::Daemon::new(options).and_then(|mut daemon| daemon.run()) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(action)) => ExitCode::from(u8::try_from(action.exit_code()).unwrap_or(1)),
        Err(error) => {
            report(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}
