//! The watchdog turns a program into an HTTP function. It keeps the contracts of
//! OpenFaaS's two watchdogs: environment, health, lock file, logs, metrics,
//! signals and exit codes.
//!
//! | `mode` | the program |
//! |---|---|
//! | `classic` | runs once a request; what it wrote is the answer |
//! | `serializing` | the same, under the rules of of-watchdog |
//! | `streaming` | runs once a request; input and output are passed on as they come |
//! | `http` | runs once, and speaks HTTP |
//! | `static` | there is none: files of a folder |
//!
//! The gateway uses [`contract`] and [`duration`], which both programs have to
//! agree on.

mod answer;
mod body;
mod cgi;
mod children;
mod classic;
pub mod config;
mod connections;
pub mod contract;
pub mod duration;
mod files;
pub mod health;
mod http;
mod lines;
pub mod log;
mod metrics;
mod process;
mod record;
mod route;
mod serializing;
pub mod server;
mod sniff;
mod streaming;
