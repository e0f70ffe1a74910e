//! What every Rubus program has to agree on: where things are on a device
//! ([`paths`]), how `init` and the runtime part ([`power`]), what an image says
//! of itself ([`image`]), and the configuration tree ([`settings`]).
//!
//! The feature `tools` adds what reads, changes and stores settings.

pub mod boot;
pub mod image;
#[cfg(feature = "tools")]
pub mod keys;
pub mod paths;
pub mod power;
pub mod reaped;
pub mod settings;
