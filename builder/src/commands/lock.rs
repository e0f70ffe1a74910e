//! `rubus lock`.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    board, build::requests, cli, config::Config, lock, lock::Lock, project::Project, services,
    sources::Context, ui::Ui,
};

/// Renews the lock. What a user's configuration adds goes into a lock of its
/// own beside it, so that the project's stays as it is.
pub(super) fn run(args: &cli::Lock) -> Result<()> {
    let project = Project::find()?;
    let config = Config::load(args.config.as_deref())?;
    let mut ui = Ui::new();
    let path = renew(&project, &config, &args.mirrors, &mut ui)?;
    ui.say(&format!("{} is up to date", path.display()));
    Ok(())
}

fn renew(
    project: &Project,
    config: &Config,
    mirrors: &cli::Mirrors,
    ui: &mut Ui,
) -> Result<PathBuf> {
    let path = config.lock_path(project);
    let boards = board::boards(&project.boards())?;
    let services = services::with_additions(project, config)?;
    let requests = requests::all(project, &boards, &services)?;
    let context = Context::new(config, mirrors, false)?;
    let new = ui.step("Package lists", |bar| {
        let references = services.iter().filter_map(|service| service.image.as_ref());
        let images = context.lock_images(references)?;
        let progress = crate::ui::Downloads::new(bar);
        lock::renew(&requests, images, &context.sources()?, &progress)
    })?;
    if let Ok(Some(old)) = Lock::find(&path) {
        let changes = lock::changes(&old, &new);
        if !changes.is_empty() {
            ui.say(changes.trim_end());
        }
    }
    new.save(&path)?;
    Ok(path)
}
