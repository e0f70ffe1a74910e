//! `rubus engines` and `rubus consoles`.

use std::io::{Write, stdout};

use anyhow::Result;

use crate::{
    build::{requests, versions},
    cli::Listing,
    config::Config,
    debian::sources::DEFAULT_RELEASE,
    lock::Lock,
    project::Project,
    services::{self, Bundle, variants::Kind},
};

/// A variant, as the listing shows it.
struct Row {
    name: String,
    /// As the lock has it; none while the lock does not fit the definition.
    version: Option<String>,
    locked: bool,
    /// Where its packages are from.
    suite: Option<String>,
    default: bool,
    description: String,
}

/// Lists the variants of a service, those of the project and those that
/// `rubus.toml` in the current folder names.
pub(super) fn run(kind: Kind, args: &Listing) -> Result<()> {
    let mut out = stdout().lock();
    let project = Project::find()?;
    let config = Config::load(None)?;
    let lock = Lock::find(&config.lock_path(&project))?;
    let mut rows = Vec::new();
    for family in services::families(&project, &config)? {
        if family[0].service.name == kind.service {
            for (at, bundle) in family.into_iter().enumerate() {
                rows.push(row(&project, bundle, lock.as_ref(), at == 0)?);
            }
        }
    }
    if args.json {
        let list: Vec<_> = rows
            .iter()
            .map(|row| {
                serde_json::json!({
                    "name": row.name,
                    "version": row.version,
                    "locked": row.locked,
                    "suite": row.suite,
                    "default": row.default,
                    "description": row.description,
                })
            })
            .collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
        return Ok(());
    }
    let version = |row: &Row| match &row.version {
        Some(version) => version.clone(),
        None if row.locked => "-".to_owned(),
        None => "not locked".to_owned(),
    };
    let width = |text: &dyn Fn(&Row) -> String| rows.iter().map(|row| text(row).len()).max();
    let name = width(&|row| row.name.clone()).unwrap_or_default().max(4);
    let long = width(&version).unwrap_or_default().max(7);
    writeln!(
        out,
        "{:<name$}  {:<long$}  {:<16}  DEFAULT  DESCRIPTION",
        "NAME", "VERSION", "SUITE"
    )?;
    for row in &rows {
        writeln!(
            out,
            "{:<name$}  {:<long$}  {:<16}  {:<7}  {}",
            row.name,
            version(row),
            row.suite.as_deref().unwrap_or("-"),
            if row.default { "yes" } else { "" },
            row.description
        )?;
    }
    Ok(())
}

fn row(project: &Project, mut bundle: Bundle, lock: Option<&Lock>, default: bool) -> Result<Row> {
    let requests = requests::all(project, &[], std::slice::from_ref(&bundle))?;
    let service = &bundle.service;
    let locked = lock.is_some_and(|lock| {
        let packages = requests.get(&bundle.set);
        packages.is_none_or(|request| lock.set(&bundle.set, request).is_ok())
            && service
                .image
                .as_ref()
                .is_none_or(|image| lock.has_image(image))
    });
    let suite = service.suite.as_deref().unwrap_or(DEFAULT_RELEASE);
    let suite = (!service.packages.is_empty()).then(|| suite.to_owned());
    if let (true, Some(lock)) = (locked, lock) {
        versions::put(&mut bundle, lock, &requests)?;
    }
    Ok(Row {
        name: bundle.variant().to_owned(),
        version: bundle.service.version,
        locked,
        suite,
        default,
        description: bundle.service.description,
    })
}
