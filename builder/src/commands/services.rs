//! `rubus services`.

use anyhow::Result;

use crate::{cli::Listing, project::Project, services};

/// Lists the services.
pub(super) fn run(args: &Listing) -> Result<()> {
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
        println!("{}", serde_json::to_string_pretty(&list)?);
        return Ok(());
    }
    println!(
        "{:<14} {:<9} {:<9} DESCRIPTION",
        "NAME", "KIND", "IN IMAGES"
    );
    for service in &services {
        println!(
            "{:<14} {:<9} {:<9} {}",
            service.name,
            format!("{:?}", service.kind).to_lowercase(),
            match (service.optional, service.enabled) {
                (true, _) => "on demand",
                (false, true) => "on",
                (false, false) => "off",
            },
            service.description
        );
    }
    Ok(())
}
