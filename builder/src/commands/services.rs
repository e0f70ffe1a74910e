//! `rubus services`.

use std::io::{Write, stdout};

use anyhow::Result;

use crate::{cli::Listing, project::Project, services};

/// Lists the services.
pub(super) fn run(args: &Listing) -> Result<()> {
    let mut out = stdout().lock();
    let project = Project::find()?;
    let services = services::load_all(&project)?;
    if args.json {
        let list: Vec<_> = services
            .iter()
            .map(|service| {
                serde_json::json!({
                    "name": service.name,
                    "description": service.description,
                    "kind": service.kind,
                    "enabled": service.enabled,
                    "optional": service.optional,
                    "after": service.after,
                    "packages": service.packages,
                    "image": service.image,
                    "crate": service.krate,
                })
            })
            .collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
        return Ok(());
    }
    writeln!(
        out,
        "{:<14} {:<9} {:<10} DESCRIPTION",
        "NAME", "KIND", "IN IMAGES"
    )?;
    for service in &services {
        writeln!(
            out,
            "{:<14} {:<9} {:<10} {}",
            service.name,
            format!("{:?}", service.kind).to_lowercase(),
            match (service.optional, service.enabled) {
                (true, _) => "on demand",
                (false, true) => "on",
                (false, false) => "off",
            },
            service.description
        )?;
    }
    Ok(())
}
