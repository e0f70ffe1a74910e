//! What every Rubus program has to agree on: where things are on a device
//! ([`paths`]), how `init` and the runtime part ([`power`]), what an image says
//! of itself ([`image`]), and the configuration tree ([`settings`]).
//!
//! The feature `tools` adds what reads, changes and stores settings.

pub mod boot;
#[cfg(feature = "tools")]
pub mod changes;
#[cfg(feature = "tools")]
pub mod document;
#[cfg(feature = "tools")]
pub mod edit;
pub mod effects;
pub mod files;
pub mod firmware;
#[cfg(feature = "first-boot")]
pub mod first_boot;
pub mod identity;
pub mod image;
#[cfg(feature = "tools")]
pub mod keys;
#[cfg(feature = "tools")]
pub mod layers;
#[cfg(feature = "tools")]
pub mod node;
pub mod paths;
pub mod power;
pub mod reaped;
#[cfg(all(test, feature = "tools"))]
mod reference;
pub mod report;
#[cfg(feature = "tools")]
pub mod secrets;
pub mod settings;
#[cfg(feature = "tools")]
pub mod store;
pub mod trial;
pub mod view;
