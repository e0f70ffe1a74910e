//! The device command of Rubus.

fn main() {}
