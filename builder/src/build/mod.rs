//! x
pub mod record;
pub mod requests;
