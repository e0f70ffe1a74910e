//! What an image says of itself.

use serde::{Deserialize, Serialize};

/// The content of `image.json`, written by the builder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Name of the board family, such as `rpi4`.
    pub board: String,
    /// Version of Rubus.
    pub version: String,
    /// Identifies the content: the same inputs give the same id.
    pub build_id: String,
    /// Seconds since 1970 of the newest source; the time floor of a board
    /// without a clock.
    pub timestamp: i64,
    /// Release of the kernel, as in `uname -r`.
    pub kernel: String,
}

impl ImageInfo {
    /// The content of `/usr/lib/os-release`, as `os-release(5)` has it. The
    /// parts come from Debian.
    pub fn os_release(&self) -> String {
        let Self {
            version,
            build_id,
            board,
            ..
        } = self;
        format!(
            "PRETTY_NAME=\"Rubus {version}\"\nNAME=Rubus\nID=rubus\nID_LIKE=debian\n\
             VERSION_ID={version}\nBUILD_ID={build_id}\nVARIANT_ID={board}\n"
        )
    }
}
