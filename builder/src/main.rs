//! Builds, runs and inspects Rubus images.

fn main() {}
