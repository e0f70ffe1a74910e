//! What a function image promises to whoever runs it.

/// The port on which a function answers.
pub const PORT: u16 = 8080;
/// The port on which its metrics are read.
pub const METRICS_PORT: u16 = 8081;
/// The path that says whether it takes requests: 200 or 503.
pub const HEALTH_PATH: &str = "/_/health";
/// The path that says whether a request would be answered now.
pub const READY_PATH: &str = "/_/ready";
/// Names the part of the stack that answered in the place of the function.
pub const INTERNAL_HEADER: &str = "x-openfaas-internal";
