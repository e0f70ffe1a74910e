//! The watchdog turns a program that reads stdin and writes stdout into an
//! HTTP function: it listens, runs the program once a request, and answers with
//! what the program wrote. It keeps the contract of OpenFaaS's classic
//! watchdog: environment, health, lock file, logs, metrics and signals.
//!
//! The gateway uses [`contract`] and [`duration`], which both programs have to
//! agree on.

mod cgi;
mod classic;
pub mod config;
pub mod contract;
pub mod duration;
pub mod health;
pub mod log;
mod metrics;
mod process;
pub mod server;
mod sniff;
