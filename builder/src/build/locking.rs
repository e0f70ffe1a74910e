//! The lock that a build uses: as it is when it fits, else with what it lacks.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::Options;
use crate::{
    debian::resolve::Request,
    lock::{self, Lock},
    project::Project,
    services::Bundle,
    sources::Context,
    ui::{Downloads, Ui},
};

/// Reads the lock. What it lacks is looked up and written into it, unless that
/// is not wanted (`--locked`) or not possible (`--offline`).
///
/// # Errors
/// When it cannot be read, or what it lacks cannot be had.
pub(super) fn lock(
    project: &Project,
    options: &Options,
    context: &Context,
    bundles: &[Bundle],
    requests: &BTreeMap<String, Request>,
    ui: &mut Ui,
) -> Result<Lock> {
    let path = options.config.lock_path(project);
    if options.locked || context.fetcher.is_offline() {
        let lock = Lock::find(&path)?.with_context(|| {
            format!(
                "there is no {}; make it with `{}`, or build without --locked and --offline",
                path.display(),
                options.config.lock_command()
            )
        })?;
        check(&lock, bundles, requests)?;
        return Ok(lock);
    }
    let own = Lock::find(&path)?;
    if let Some(lock) = &own
        && check(lock, bundles, requests).is_ok()
    {
        return Ok(lock.clone());
    }
    // A lock beside the user's file begins as the project's: what that holds
    // already is not to be another version in this image.
    let base = match own {
        Some(lock) => Some(lock),
        None => Lock::find(&project.lock())?,
    };
    let lock = ui.step("Lock", |bar| {
        let progress = Downloads::new(bar);
        let references = bundles.iter().filter_map(|bundle| {
            let reference = bundle.service.image.as_ref()?;
            let known = base.as_ref().is_some_and(|lock| lock.has_image(reference));
            (!known).then_some(reference)
        });
        let images = context.lock_images(references)?;
        let sources = context.sources()?;
        match &base {
            Some(base) => base.complete(requests, images, &sources, &progress),
            None => lock::renew(requests, images, &sources, &progress),
        }
    })?;
    let changes = base.as_ref().map(|base| lock::changes(base, &lock));
    if let Some(changes) = changes.filter(|changes| !changes.is_empty()) {
        ui.say(changes.trim_end());
    }
    lock.save(&path)?;
    ui.say(&format!(
        "{} holds now what was missing; keep it, and the same image can be built again",
        path.display()
    ));
    Ok(lock)
}

/// Whether a lock has everything that is asked for.
fn check(lock: &Lock, bundles: &[Bundle], requests: &BTreeMap<String, Request>) -> Result<()> {
    for (name, request) in requests {
        lock.set(name, request)?;
    }
    for bundle in bundles {
        if let Some(reference) = &bundle.service.image {
            lock.image(reference, &bundle.origin)?;
        }
    }
    Ok(())
}
