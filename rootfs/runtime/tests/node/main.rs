//! The runtime from outside: real containers, real faults.

mod faults;
mod harness;
mod own;
mod settings;
mod switches;
mod takeover;
