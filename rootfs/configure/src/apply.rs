//! `configure apply`

use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rubus_config::keys::Schema;
use rubus_config::node::Node;
use serde::Deserialize;
use serde_json::Value;

/// More than any layer has.
const MOST_BYTES: u64 = 4 << 20;

/// What is asked for, in JSON on standard input.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// What is to be set on the node, in place of what is.
    layer: Value,
}

/// Makes the change and prints what follows from it: keys that changed, what to
/// restart in order, keys that count from the next boot.
pub(crate) fn run(root: &Path, dry_run: bool) -> Result<()> {
    let mut text = String::new();
    io::stdin()
        .take(MOST_BYTES)
        .read_to_string(&mut text)
        .context("cannot read standard input")?;
    ensure!(
        (text.len() as u64) < MOST_BYTES,
        "the request is larger than {} MiB",
        MOST_BYTES >> 20
    );
    let request: Request =
        serde_json::from_str(&text).context("the request is not as in {\"layer\": {...}}")?;
    let effects = Node::new(root).change(&Schema::default(), dry_run, |editor| {
        editor.replace(request.layer)
    })?;
    let answer = serde_json::to_string(&effects)?;
    writeln!(io::stdout(), "{answer}").context("cannot write to standard output")
}
