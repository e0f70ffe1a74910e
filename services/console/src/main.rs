//! Login on ssh, serial and screen.

fn main() {}
