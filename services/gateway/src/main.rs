//! Functions over HTTP, compatible with the OpenFaaS API.

fn main() {}
