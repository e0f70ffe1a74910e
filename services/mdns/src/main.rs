//! Answers for HOSTNAME.local.

fn main() {}
