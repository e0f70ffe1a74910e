//! `rubus lock`.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    board,
    build::{requests, versions},
    cli,
    config::Config,
    lock,
    lock::Lock,
    project::Project,
    services,
    sources::Context,
    ui::Ui,
};

/// Renews the lock. A variant that is of another version then than its name says
/// is told when the lock is there: other services do not wait for the name. What a user's configuration adds goes into a lock of its
/// own beside it, so that the project's stays as it is.
pub(super) fn run(args: &cli::Lock) -> Result<()> {
    let project = Project::find()?;
    let mut config = Config::load(args.config.as_deref())?;
    config.choose_variants(&args.variants)?;
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
    let mut bundles = services::all(project, config)?;
    let requests = requests::all(project, &boards, &bundles)?;
    let context = Context::new(config, mirrors, false)?;
    let new = ui.step("Package lists", |bar| {
        let references = bundles.iter().filter_map(|it| it.service.image.as_ref());
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
    for bundle in &mut bundles {
        versions::put(bundle, &new, &requests)?;
    }
    Ok(path)
}
