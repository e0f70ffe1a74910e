//! How many replicas a function is to have: what its labels allow, and who
//! decides within that.

pub mod alert;
pub(crate) mod by_hand;
pub mod limits;
pub mod policy;
pub mod scaler;
pub(crate) mod starter;
