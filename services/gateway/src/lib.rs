//! The gateway: deploys functions and passes requests on to them, with the API
//! of OpenFaaS.
//!
//! Where functions run is the affair of a [`provider::Provider`]; nothing else
//! here knows of a container engine.

pub mod api;
pub mod auth;
pub mod config;
mod cron;
mod files;
mod kept;
mod metrics;
pub mod model;
pub mod namespaces;
mod node;
mod portal;
pub mod provider;
mod proxy;
pub mod quantity;
pub mod queue;
pub mod rate;
pub mod rules;
pub mod scaling;
pub mod secrets;
pub mod seed;
pub mod server;
