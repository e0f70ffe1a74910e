//! Addresses, routes and name servers.

fn main() {}
