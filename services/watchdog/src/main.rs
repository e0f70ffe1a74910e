//! Turns a program that reads stdin and writes stdout into an HTTP function.

fn main() {}
