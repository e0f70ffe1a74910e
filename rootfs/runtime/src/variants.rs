//! The variants of services as they lie on disk: which there are, whether one
//! can be used, and the record of what was chosen.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use rubus_config::files;
use rubus_service::{
    Service, is_name,
    oci::Config,
    variants::{Source, UNNAMED},
};

use crate::{options::Options, switch::Record};

/// A variant that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) source: Source,
    /// Its bundle.
    pub(crate) folder: PathBuf,
}

/// The variants of a service: the image's own, further ones of the image,
/// those that were added. What is called as one before it cannot be reached.
pub(crate) fn list(options: &Options, service: &str) -> Vec<Found> {
    let own = options.services.join(service);
    if !own.exists() {
        // Added on the node, as it is.
        return vec![Found {
            name: UNNAMED.to_owned(),
            source: Source::Added,
            folder: options.own_services().join(service),
        }];
    }
    let name = read_service(&own, service)
        .ok()
        .and_then(|it| it.variant)
        .unwrap_or_else(|| UNNAMED.to_owned());
    let mut found = vec![Found {
        name,
        source: Source::Image,
        folder: own.clone(),
    }];
    let further = [
        (own.join("variants"), Source::Image),
        (options.added_variants().join(service), Source::Added),
    ];
    for (folder, source) in further {
        let mut names: Vec<String> = fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| is_name(name))
            .collect();
        names.sort_unstable();
        for name in names {
            if found.iter().all(|it| it.name != name) {
                let folder = folder.join(&name);
                found.push(Found {
                    name,
                    source,
                    folder,
                });
            }
        }
    }
    found
}

/// Finds a variant and reads what it is; an error says why it cannot be used.
pub(crate) fn load(
    options: &Options,
    service: &str,
    variant: &str,
) -> Result<(Service, PathBuf), String> {
    let found = list(options, service)
        .into_iter()
        .find(|it| it.name == variant)
        .ok_or_else(|| format!("{variant} is not on this node any more"))?;
    let definition = check(&found, service)?;
    Ok((definition, found.folder))
}

/// Reads a variant as far as it is needed to run; an error says what is wrong.
pub(crate) fn check(found: &Found, service: &str) -> Result<Service, String> {
    let Found { name, folder, .. } = found;
    let cannot = |what: &str, error: &dyn std::fmt::Display| {
        format!(
            "{name} is damaged: cannot read {}: {error}",
            folder.join(what).display()
        )
    };
    let mut definition =
        read_service(folder, service).map_err(|error| cannot("service.json", &error))?;
    let called = definition.variant.get_or_insert_with(|| name.clone());
    if called != name {
        return Err(format!("{name} is damaged: it calls itself {called}"));
    }
    fs::read(folder.join("config.json"))
        .and_then(|text| Ok(serde_json::from_slice::<Config>(&text)?))
        .map_err(|error| cannot("config.json", &error))?;
    fs::read_dir(folder.join("rootfs")).map_err(|error| cannot("rootfs", &error))?;
    Ok(definition)
}

/// The definition in a bundle of a service.
pub(crate) fn read_service(bundle: &Path, name: &str) -> io::Result<Service> {
    let text = fs::read(bundle.join("service.json"))?;
    let mut service: Service = serde_json::from_slice(&text)?;
    name.clone_into(&mut service.name);
    Ok(service)
}

/// The records of all services that were ever switched, by name.
pub(crate) type Records = BTreeMap<String, Record>;

/// Reads the records. An error says what is wrong with them: then every
/// service is what the image starts with.
pub(crate) fn read_records(path: &Path) -> Result<Records, String> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|error| format!("{} is damaged: {error}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Records::new()),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// Writes the records whole or not at all; they are on the card when this
/// returns.
pub(crate) fn write_records(path: &Path, records: &Records) -> Result<(), String> {
    serde_json::to_vec_pretty(records)
        .map_err(io::Error::from)
        .and_then(|text| files::replace(path, &text, 0o644))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}
