//! `rubus inspect`.

use std::io::{Write, stdout};

use anyhow::Result;

use crate::{cli::Inspect, inspect};

/// Shows what an image holds.
pub(super) fn run(args: &Inspect) -> Result<()> {
    let mut out = stdout().lock();
    let report = inspect::inspect(&args.image)?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
        return Ok(());
    }
    let text = if args.packages {
        format!("{report:#}")
    } else {
        format!("{report}")
    };
    // The image may be anyone's, and its names must not drive the terminal.
    let control = |letter: char| letter.is_control() && letter != '\n';
    write!(out, "{}", text.replace(control, "\u{fffd}"))?;
    Ok(())
}
