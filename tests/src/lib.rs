//! Black-box tests: images are built, booted and used from outside.
//!
//! Nothing here links against Rubus. Images come from the `rubus` command that
//! the test command built, machines from QEMU through `rubus run`, and what a
//! node does is seen over ssh, HTTP and its serial console.

pub mod checkout;
pub mod disk;
pub mod image;
pub mod node;
pub mod registry;
pub mod tools;
