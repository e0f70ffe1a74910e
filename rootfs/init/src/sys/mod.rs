//! System calls that no crate in use wraps, each behind a safe function.

pub(crate) mod block;
pub(crate) mod module;
pub(crate) mod net;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod uevent;
pub(crate) mod watchdog;
