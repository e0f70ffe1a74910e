//! The system services of a checkout: one folder each below `services/`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use rubus_service::{Service, graph::Graph, suggest};

use crate::{config::Config, project::Project};

/// The file that makes a folder a service.
const DEFINITION: &str = "service.toml";

/// Reads all services, in the order of their names.
///
/// # Errors
/// When a definition is wrong; the error names file, line and key.
pub fn load_all(project: &Project) -> Result<Vec<Service>> {
    let folder = project.services();
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .with_context(|| format!("cannot read {}", folder.display()))?;
    paths.sort();
    paths
        .iter()
        .map(|path| path.join(DEFINITION))
        .filter(|path| path.is_file())
        .map(|path| load(project, &path))
        .collect()
}

/// The services of an image: all of the checkout, with what the user adds and
/// without what the user leaves out.
///
/// # Errors
/// When the user names a service that does not exist, or what is left in
/// depends on what is left out, or services wait for each other in a circle.
pub fn select(project: &Project, config: &Config) -> Result<Vec<Service>> {
    let mut services = with_additions(project, config)?;
    services.retain(|service| config.services.get(&service.name) != Some(&false));
    Graph::new(services.iter().map(|service| {
        let after = service.after.iter().map(String::as_str);
        (service.name.as_str(), after)
    }))
    .context("the services of this image do not fit together")?;
    Ok(services)
}

/// All services of the checkout, with what the user adds to them.
///
/// # Errors
/// When the user names a service that does not exist.
pub fn with_additions(project: &Project, config: &Config) -> Result<Vec<Service>> {
    let mut services = load_all(project)?;
    let names: Vec<&str> = services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    for name in config.services.keys().chain(config.service.keys()) {
        if !names.contains(&name.as_str()) {
            bail!(
                "rubus.toml names the service {name}, which does not exist{}; \
                 `rubus services` lists all",
                suggest::hint(name, names.iter().copied())
            );
        }
    }
    for service in &mut services {
        if let Some(additions) = config.service.get(&service.name) {
            ensure!(
                service.image.is_none() || additions.packages.is_empty(),
                "rubus.toml adds packages to the service {}, which is made from an image; \
                 remove them",
                service.name
            );
            service.packages.extend(additions.packages.iter().cloned());
        }
    }
    Ok(services)
}

/// The folder whose content is laid over the root of a service.
pub fn files(project: &Project, service: &Service) -> Option<PathBuf> {
    let folder = project.services().join(&service.name).join("files");
    folder.is_dir().then_some(folder)
}

fn load(project: &Project, path: &Path) -> Result<Service> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path
        .parent()
        .and_then(Path::file_name)
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let shown = path.strip_prefix(project.root()).unwrap_or(path);
    Ok(Service::parse(&name, &shown.display().to_string(), &text)?)
}
