//! `rubus boards`.

use anyhow::Result;

use crate::{board, cli::Listing, project::Project};

/// Lists the boards.
pub(super) fn run(args: &Listing) -> Result<()> {
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
        println!("{}", serde_json::to_string_pretty(&list)?);
        return Ok(());
    }
    println!("{:<12} {:<44} MODELS", "NAME", "DESCRIPTION");
    for board in &boards {
        println!(
            "{:<12} {:<44} {}",
            board.name,
            board.description,
            board.models.join(", ")
        );
    }
    Ok(())
}
