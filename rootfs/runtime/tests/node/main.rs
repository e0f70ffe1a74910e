//! The runtime from outside: real containers, real faults.

#[macro_use]
mod harness;
mod faults;
mod takeover;
