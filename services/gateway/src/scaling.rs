//! How many replicas a function is to have: what its labels allow, and who
//! decides within that.

pub mod alert;
pub mod limits;
