//! The system services of a checkout: one folder each below `services/`, and
//! their variants.

mod choice;
pub mod variants;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use rubus_service::{Service, graph::Graph, suggest};

use self::variants::Kind;
use crate::{build::requests, config::Config, project::Project};

/// The file that makes a folder a service.
const DEFINITION: &str = "service.toml";

/// A service as one of its variants: what a bundle is made from.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Its definition.
    pub service: Service,
    /// The file that defines it, for errors.
    pub origin: String,
    /// What the lock calls its packages.
    pub set: String,
    /// Where it lies below the folder of all bundles.
    pub folder: String,
    /// Folders laid over its root, in this order.
    pub files: Vec<PathBuf>,
}

impl Bundle {
    /// The name of its variant; empty where the service has only one form.
    pub fn variant(&self) -> &str {
        self.service.variant.as_deref().unwrap_or_default()
    }

    /// Whether the image starts with it.
    pub fn is_first(&self) -> bool {
        self.folder == self.service.name
    }

    /// Whether it is another form than that of `service.toml`.
    pub fn is_further(&self) -> bool {
        self.set != requests::service_set(&self.service.name)
    }

    /// Puts it beside the one that the image starts with.
    fn beside(mut self) -> Self {
        self.folder = format!("{}/variants/{}", self.service.name, self.variant());
        self
    }
}

/// A `service.toml`.
struct Definition {
    service: Service,
    /// The folder that it is in.
    folder: PathBuf,
    /// What errors call it.
    file: String,
    text: String,
}

/// Reads all services as their `service.toml` has them, in the order of their
/// names.
///
/// # Errors
/// When a definition is wrong; the error names file, line and key.
pub fn load_all(project: &Project) -> Result<Vec<Service>> {
    let definitions = definitions(project)?.into_iter();
    Ok(definitions.map(|it| it.service).collect())
}

/// The bundles of an image: all services of the checkout that are not optional,
/// with what the user adds and without what the user leaves out, each in the
/// variants that the user chooses.
///
/// # Errors
/// When the user names a service or a variant that does not exist, or what is
/// left in depends on what is left out, or services wait for each other in a
/// circle.
pub fn select(project: &Project, config: &Config) -> Result<Vec<Bundle>> {
    let mut selected = Vec::new();
    for family in families(project, config)? {
        let name = family[0].service.name.clone();
        let wanted = config.variants(&name);
        let asked = config.services.get(&name);
        if asked.is_none() && family[0].service.optional {
            continue;
        }
        if asked == Some(&false) {
            ensure!(
                wanted.is_empty(),
                "the service {name} is left out by rubus.toml, but {} is asked for; \
                 do one of them",
                wanted[0]
            );
            continue;
        }
        let chosen = match Kind::of(&name) {
            Some(kind) => choice::choose(kind, &family, &wanted)?,
            None => vec![0],
        };
        for (at, index) in chosen.into_iter().enumerate() {
            let bundle = family[index].clone();
            selected.push(if at == 0 { bundle } else { bundle.beside() });
        }
    }
    check_order(&selected)?;
    Ok(selected)
}

/// Every bundle that an image of this configuration could hold: what a lock
/// is made for.
///
/// # Errors
/// When a definition is wrong, or the user names a service that does not exist.
pub fn all(project: &Project, config: &Config) -> Result<Vec<Bundle>> {
    Ok(families(project, config)?.into_iter().flatten().collect())
}

/// All services of the checkout with all their variants, the one of
/// `service.toml` first, and with what the user adds to them.
///
/// # Errors
/// When a definition is wrong, or the user names a service that does not exist.
pub fn families(project: &Project, config: &Config) -> Result<Vec<Vec<Bundle>>> {
    let definitions = definitions(project)?;
    let names = || definitions.iter().map(|it| it.service.name.as_str());
    for name in config.services.keys().chain(config.service.keys()) {
        if !names().any(|known| known == name) {
            bail!(
                "rubus.toml names the service {name}, which does not exist{}; \
                 `rubus services` lists all",
                suggest::hint(name, names())
            );
        }
    }
    let mut families = Vec::new();
    for definition in &definitions {
        let mut family = variants::family(project, definition, config)?;
        for bundle in &mut family {
            add(bundle, config)?;
        }
        families.push(family);
    }
    Ok(families)
}

/// Adds to a bundle what the user adds to its service.
fn add(bundle: &mut Bundle, config: &Config) -> Result<()> {
    let service = &mut bundle.service;
    if let Some(additions) = config.service.get(&service.name) {
        ensure!(
            service.image.is_none() || additions.packages.is_empty(),
            "rubus.toml adds packages to the service {}, which {} makes from an image; \
             remove them",
            service.name,
            bundle.origin
        );
        service.packages.extend(additions.packages.iter().cloned());
    }
    bundle.files.extend(config.files(&service.name));
    Ok(())
}

/// Any variant of a service may run, so each waits for what one of them waits
/// for.
fn check_order(bundles: &[Bundle]) -> Result<()> {
    let firsts = bundles.iter().filter(|bundle| bundle.is_first());
    Graph::new(firsts.map(|first| {
        let name = first.service.name.as_str();
        let variants = bundles.iter().filter(move |it| it.service.name == name);
        let after = variants.flat_map(|it| it.service.after.iter().map(String::as_str));
        (name, after)
    }))
    .context("the services of this image do not fit together")?;
    Ok(())
}

fn definitions(project: &Project) -> Result<Vec<Definition>> {
    let folders = entries(&project.services())?;
    folders
        .into_iter()
        .filter(|folder| folder.join(DEFINITION).is_file())
        .map(|folder| load(project, folder))
        .collect()
}

fn load(project: &Project, folder: PathBuf) -> Result<Definition> {
    let name = file_name(&folder);
    let path = folder.join(DEFINITION);
    let text = read(&path)?;
    let file = shown(project, &path);
    Ok(Definition {
        service: Service::parse(&name, &file, &text)?,
        folder,
        file,
        text,
    })
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// What a folder holds, in the order of names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .with_context(|| format!("cannot read {}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// What errors call a file: by its path in the checkout, if it is there.
fn shown(project: &Project, path: &Path) -> String {
    let path = path.strip_prefix(project.root()).unwrap_or(path);
    path.display().to_string()
}
