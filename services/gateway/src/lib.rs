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
mod metrics;
pub mod model;
pub mod provider;
mod proxy;
pub mod quantity;
pub mod queue;
mod scale;
pub mod seed;
pub mod server;
