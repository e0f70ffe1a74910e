//! Telling whoever reads the runtime's standard error: `init`.

use std::io::Write;

/// Writes a line that `init` logs in our name and shows on the console, also
/// when the kernel is told to be quiet: `<3>` is the kernel's priority of
/// errors. Nobody may be there to read it, which is no reason to end.
pub(crate) fn report(message: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "<3>{message}");
}
