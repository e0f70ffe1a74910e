//! `rubus inspect`.

use anyhow::Result;

use crate::{cli::Inspect, inspect};

/// Shows what an image holds.
pub(super) fn run(args: &Inspect) -> Result<()> {
    let report = inspect::inspect(&args.image)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else if args.packages {
        print!("{report:#}");
    } else {
        print!("{report}");
    }
    Ok(())
}
