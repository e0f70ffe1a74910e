//! x
use anyhow::Result;
pub(super) fn run<T>(_: &T) -> Result<()> { Ok(()) }
