//! `rubus boards`.

use std::io::{Write, stdout};

use anyhow::Result;

use crate::{
    board::{self, Board},
    cli::Listing,
    project::Project,
};

/// Lists the boards.
pub(super) fn run(args: &Listing) -> Result<()> {
    let mut out = stdout().lock();
    let project = Project::find()?;
    let boards = board::boards(&project.boards())?;
    if args.json {
        let list: Vec<_> = boards
            .iter()
            .map(|board| {
                serde_json::json!({
                    "name": board.name,
                    "description": board.description,
                    "models": board.models,
                })
            })
            .collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
        return Ok(());
    }
    let width = |text: fn(&Board) -> &str| boards.iter().map(|board| text(board).len()).max();
    let name = width(|board| &board.name).unwrap_or_default();
    let about = width(|board| &board.description).unwrap_or_default();
    writeln!(out, "{:<name$}  {:<about$}  MODELS", "NAME", "DESCRIPTION")?;
    for board in &boards {
        writeln!(
            out,
            "{:<name$}  {:<about$}  {}",
            board.name,
            board.description,
            board.models.join(", ")
        )?;
    }
    Ok(())
}
