//! Time since the kernel started, which no step of the wall clock changes.

use rustix::time::{ClockId, clock_gettime};

use crate::machine::Micros;

/// Now.
pub(crate) fn now() -> Micros {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = Micros::try_from(time.tv_sec).unwrap_or(0);
    let nanos = Micros::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000_000 + nanos / 1_000
}
