//! The definition of a system service: what `service.toml` may say
//! ([`definition`]), in which order services start ([`graph`]), and the OCI
//! runtime configuration that follows from it ([`oci`]).
//!
//! The builder uses this to make bundles, the device to run them.

pub mod definition;
pub mod units;

pub use definition::{Health, Kind, Limits, Network, Probe, Restart, Service};
