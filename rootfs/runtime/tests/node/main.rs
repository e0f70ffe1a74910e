//! The runtime from outside: real containers, real faults.

mod faults;
mod harness;
mod settings;
mod switches;
mod takeover;
