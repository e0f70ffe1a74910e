//! The definition of a system service: what `service.toml` may say
//! ([`definition`]) and how it is read ([`mod@parse`], also over another as a
//! variant, or on a node, [`own`]), in which order services start ([`graph`]),
//! the OCI runtime configuration that follows from it ([`oci`]), and what the
//! runtime reports of it ([`status`]) and of its variants ([`variants`]).
//!
//! The builder uses this to make bundles, the device to run them.

pub mod capabilities;
pub mod definition;
pub mod graph;
pub mod identity;
pub mod image;
pub mod keys;
pub mod mounts;
pub mod oci;
pub mod own;
pub mod parse;
pub mod seccomp;
pub mod signals;
pub mod status;
pub mod suggest;
pub mod syntax;
pub mod units;
mod validate;
mod variant;
pub mod variants;
pub mod workshop;

pub use definition::{Health, Kind, Limits, Network, Probe, Restart, Root, Service, Switch};
pub use identity::Identity;
pub use image::ImageConfig;
pub use parse::{Error, Source};
pub use validate::is_name;
