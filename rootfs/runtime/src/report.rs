//! Telling whoever reads the runtime's standard error: `init`.

use std::io::Write;

/// Writes a line. Nobody may be there to read it, which is no reason to end.
pub(crate) fn report(message: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "system-runtime: {message}");
}
