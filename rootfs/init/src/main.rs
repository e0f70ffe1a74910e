//! PID 1 of Rubus, in the initramfs and in the system root.

fn main() {}
