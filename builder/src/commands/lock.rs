//! `rubus lock`.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result};
use indicatif::ProgressBar;

use crate::{
    board,
    build::{requests, versions},
    cli,
    config::Config,
    debian::{archive::Sources, resolve::Request, sources::pool},
    lock,
    lock::Lock,
    project::Project,
    services::{self, Bundle},
    sources::Context,
    ui::Ui,
};

/// Requests, by the names of their sets.
type Requests = BTreeMap<String, Request>;

/// Renews the lock. What a user's configuration adds goes into a lock of its
/// own beside it, so that the project's stays as it is. A variant that is now of
/// another version than its name says is told in the end: updates of everything
/// else do not wait for another name.
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
    let old = Lock::find(&path).ok().flatten();
    let new = ui.step("Package lists", |bar| {
        let references = bundles.iter().filter_map(|it| it.service.image.as_ref());
        let images = context.lock_images(references)?;
        let progress = crate::ui::Downloads::new(bar);
        let sources = context.sources()?;
        let Some(old) = &old else {
            return lock::renew(&requests, images, &sources, &progress);
        };
        let (kept, wanted) = split(&bundles, &requests, old, &sources, bar)?;
        let mut new = lock::renew(&wanted, images, &sources, &progress)?;
        new.keep(old, &kept)?;
        Ok(new)
    })?;
    if let Some(old) = &old {
        let changes = lock::changes(old, &new);
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

/// The requests that stay as they are locked, and those that are renewed. A
/// further engine from a suite that the mirrors lack, or do not keep up with,
/// must not keep updates from everything else.
fn split(
    bundles: &[Bundle],
    requests: &Requests,
    old: &Lock,
    sources: &Sources<'_>,
    bar: &ProgressBar,
) -> Result<(Requests, Requests)> {
    let (mut kept, mut wanted) = (Requests::new(), requests.clone());
    let mut reached: BTreeMap<&str, bool> = BTreeMap::new();
    for bundle in bundles.iter().filter(|bundle| bundle.is_further()) {
        let Some(request) = requests.get(&bundle.set) else {
            continue;
        };
        let (Some(suite), Ok(_)) = (&request.suite, old.set(&bundle.set, request)) else {
            continue;
        };
        if !reached.contains_key(suite.as_str()) {
            let pool = pool(suite).with_context(|| format!("cannot lock {}", request.origin))?;
            let result = sources.check(pool);
            if let Err(error) = &result {
                bar.suspend(|| eprintln!("{error:#}; what is locked from {suite} stays"));
            }
            reached.insert(suite, result.is_ok());
        }
        if !reached[suite.as_str()] {
            kept.extend(wanted.remove_entry(&bundle.set));
        }
    }
    Ok((kept, wanted))
}
