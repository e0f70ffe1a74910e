//! Starts and supervises the system services of Rubus as OCI containers.

fn main() {}
