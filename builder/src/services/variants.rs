//! Variants of services: engines and consoles, and whatever else has a folder
//! `variants`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use rubus_service::{Service, Source};

use super::{Bundle, Definition, entries, file_name, read, shown};
use crate::{
    build::requests,
    config::{Choice, Config},
    project::Project,
};

/// The folder of a service's variants.
const FOLDER: &str = "variants";
/// What makes a folder of the user's a variant.
const OWN_DEFINITION: &str = "variant.toml";
/// The folder in it that is laid over the root.
const OWN_FILES: &str = "files";

/// A service whose variants have a word of their own, and can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The service.
    pub service: &'static str,
    /// What one variant is called.
    pub one: &'static str,
    /// What several are called; the command that lists them.
    pub many: &'static str,
}

impl Kind {
    /// Engines.
    pub const ENGINE: Self = Self {
        service: "docker",
        one: "engine",
        many: "engines",
    };
    /// Consoles.
    pub const CONSOLE: Self = Self {
        service: "console",
        one: "console",
        many: "consoles",
    };

    /// The kind that the variants of a service are.
    pub fn of(service: &str) -> Option<Self> {
        [Self::ENGINE, Self::CONSOLE]
            .into_iter()
            .find(|kind| kind.service == service)
    }
}

/// All variants of a service: first that of its `service.toml`, then those of
/// its folder, then the user's own.
pub(super) fn family(
    project: &Project,
    definition: &Definition,
    config: &Config,
) -> Result<Vec<Bundle>> {
    let name = &definition.service.name;
    let files = definition.folder.join("files");
    let mut family = vec![Bundle {
        service: definition.service.clone(),
        origin: definition.file.clone(),
        set: requests::service_set(name),
        folder: name.clone(),
        files: files.is_dir().then_some(files).into_iter().collect(),
    }];
    let mut places = built_in(&definition.folder.join(FOLDER))?;
    places.extend(own(name, config)?);
    ensure!(
        places.is_empty() || definition.service.variant.is_some(),
        "{}: the service has variants, but this one has no name; add `variant`",
        definition.file
    );
    for place in places {
        let bundle = place.read(project, definition, &family[0])?;
        if let Some(known) = family.iter().find(|it| it.variant() == bundle.variant()) {
            bail!(
                "{} and {} are both the variant {} of the service {name}; rename one",
                known.origin,
                bundle.origin,
                bundle.variant()
            );
        }
        family.push(bundle);
    }
    Ok(family)
}

/// Where a variant is.
struct Place {
    name: String,
    definition: PathBuf,
    /// The folder that is laid over the root, if it is there.
    files: PathBuf,
}

impl Place {
    fn read(&self, project: &Project, definition: &Definition, first: &Bundle) -> Result<Bundle> {
        let text = read(&self.definition)?;
        let origin = shown(project, &self.definition);
        let base = Source {
            file: &definition.file,
            text: &definition.text,
        };
        let own = Source {
            file: &origin,
            text: &text,
        };
        let name = &definition.service.name;
        let service = Service::parse_variant(name, &self.name, base, own)?;
        let mut files = first.files.clone();
        files.extend(self.files.is_dir().then(|| self.files.clone()));
        Ok(Bundle {
            service,
            set: requests::variant_set(name, &self.name),
            folder: name.clone(),
            files,
            origin,
        })
    }
}

/// The variants of a folder: `NAME.toml`, and `NAME/` beside it.
fn built_in(folder: &Path) -> Result<Vec<Place>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut places = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            let definition = path.with_file_name(format!("{}.toml", file_name(&path)));
            ensure!(
                definition.is_file(),
                "{} belongs to no variant: there is no {}",
                path.display(),
                definition.display()
            );
            continue;
        }
        let file = file_name(&path);
        let Some(name) = file.strip_suffix(".toml") else {
            bail!(
                "{} is no variant: call it NAME.toml, or remove it",
                path.display()
            );
        };
        places.push(Place {
            name: name.to_owned(),
            files: folder.join(name),
            definition: path,
        });
    }
    Ok(places)
}

/// The folders that the user asks for as variants of a service.
fn own(service: &str, config: &Config) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for choice in config.variants(service) {
        let Choice::Folder(folder) = choice else {
            continue;
        };
        let definition = folder.join(OWN_DEFINITION);
        ensure!(
            definition.is_file(),
            "there is no {}; it makes a folder a variant of the service {service}",
            definition.display()
        );
        if !places.iter().any(|it: &Place| it.definition == definition) {
            places.push(Place {
                name: file_name(&folder),
                files: folder.join(OWN_FILES),
                definition,
            });
        }
    }
    Ok(places)
}
