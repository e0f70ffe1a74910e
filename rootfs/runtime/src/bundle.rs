//! What lies on disk: definitions to read, and what has to be there before a
//! service starts.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use rubus_config::settings::Settings;
use rubus_service::{Root, Service, mounts::MountPoint, oci::Config};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::{options::Options, own, report::report, variants::read_service};

/// Missing folders below these are made when a service binds them.
const MADE_BELOW: [&str; 3] = ["/var/lib/rubus/", "/data/", "/run/"];

/// A service that was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) service: Service,
    pub(crate) enabled: bool,
    /// Where it is.
    pub(crate) bundle: PathBuf,
}

/// Reads all services: those of the image, and those that were added. One of
/// the image that cannot be read is told about and left out: the others have to
/// run.
pub(crate) fn load(options: &Options) -> Vec<Found> {
    let chosen = settings(options).map_or_else(BTreeMap::new, |it| it.services);
    let of_image = of_image(options);
    let is_of_image = |name: &str| options.services.join(name).exists();
    let added = own::load(options, is_of_image);
    let found = |service: Service, folder: &Path| Found {
        enabled: is_enabled(&service, &chosen),
        bundle: folder.join(&service.name),
        service,
    };
    let mut all: Vec<Found> = of_image
        .into_iter()
        .map(|service| found(service, &options.services))
        .collect();
    let folder = options.own_services();
    all.extend(added.into_iter().map(|service| found(service, &folder)));
    all.sort_by(|a, b| a.service.name.cmp(&b.service.name));
    all
}

/// Whether a service starts by itself: the settings decide, else what it says.
pub(crate) fn is_enabled(service: &Service, chosen: &BTreeMap<String, bool>) -> bool {
    let chosen = chosen.get(&service.name).copied();
    chosen.unwrap_or(service.enabled)
}

fn of_image(options: &Options) -> Vec<Service> {
    let mut services = Vec::new();
    let entries = match fs::read_dir(&options.services) {
        Ok(entries) => entries,
        Err(error) => {
            report(format_args!(
                "cannot read {}: {error}; no services run",
                options.services.display()
            ));
            return services;
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match read_service(&path, &entry.file_name().to_string_lossy()) {
            Ok(service) => services.push(service),
            Err(error) => report(format_args!(
                "cannot read {}: {error}; this service does not run",
                path.join("service.json").display()
            )),
        }
    }
    services
}

/// The settings of the node; none where they cannot be read.
pub(crate) fn settings(options: &Options) -> Option<Settings> {
    let path = options.config();
    let settings = fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?));
    settings
        .inspect_err(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                report(format_args!(
                    "cannot read {}: {error}; services run as the image has them",
                    path.display()
                ));
            }
        })
        .ok()
}

/// Makes what has to be there before a service starts from its bundle.
pub(crate) fn prepare(options: &Options, bundle: &Path, service: &Service) -> Result<(), String> {
    if bundle.starts_with(options.own_services()) {
        own::check(bundle, &service.name)?;
    }
    make_sources(bundle, service)?;
    if service.root != Root::ReadOnly {
        mount_writable_root(options, bundle, service)
            .map_err(|error| format!("cannot mount its writable root: {error}"))?;
    }
    Ok(())
}

/// Undoes what [`prepare`] did.
pub(crate) fn clear(options: &Options, service: &Service) {
    if service.root == Root::ReadOnly {
        return;
    }
    let (root, layer) = (root_of(options, service), volatile_layer(options, service));
    // Neither is there when the service never got as far as to start.
    let _ = rustix::mount::unmount(&root, UnmountFlags::DETACH);
    if service.root == Root::Volatile {
        let _ = fs::remove_dir_all(layer);
    }
}

fn make_sources(bundle: &Path, service: &Service) -> Result<(), String> {
    for point in rubus_service::mounts::sources(service) {
        let Some(source) = &point.source else {
            continue;
        };
        if Path::new(source).exists() {
            continue;
        }
        let made = if source.starts_with("/etc/") && point.is_file() {
            // An empty one says the same as none, and can be mounted.
            fs::write(source, "")
        } else if is_made(&point, source) {
            make_folder(Path::new(source), owner(bundle))
        } else {
            continue;
        };
        made.map_err(|error| format!("cannot make {source}: {error}"))?;
    }
    Ok(())
}

fn is_made(point: &MountPoint, source: &str) -> bool {
    !point.is_file() && MADE_BELOW.iter().any(|root| source.starts_with(root))
}

/// The innermost folder belongs to the service, those above to root.
fn make_folder(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    match owner {
        Some((uid, gid)) if uid != 0 => chown(path, Some(uid), Some(gid)),
        _ => Ok(()),
    }
}

fn owner(bundle: &Path) -> Option<(u32, u32)> {
    let text = fs::read(bundle.join("config.json")).ok()?;
    let user = serde_json::from_slice::<Config>(&text).ok()?.process.user;
    Some((user.uid, user.gid))
}

/// Where a writable root is mounted.
fn root_of(options: &Options, service: &Service) -> PathBuf {
    options.roots().join(&service.name)
}

/// The layer over a root that lies in memory.
fn volatile_layer(options: &Options, service: &Service) -> PathBuf {
    options.roots().join(format!(".{}", service.name))
}

/// The layer over a root that is kept. Variants do not share what they keep:
/// each has been written over another root. For the same reason that of an
/// added service goes with the service.
fn kept_layer(options: &Options, bundle: &Path, service: &Service) -> PathBuf {
    if bundle.starts_with(options.own_services()) {
        return bundle.join("kept");
    }
    let layer = options.kept_roots().join(&service.name);
    match &service.variant {
        Some(variant) => layer.join(variant),
        None => layer,
    }
}

fn mount_writable_root(options: &Options, bundle: &Path, service: &Service) -> io::Result<()> {
    clear(options, service);
    let root = root_of(options, service);
    let layer = match service.root {
        Root::Kept => kept_layer(options, bundle, service),
        _ => volatile_layer(options, service),
    };
    let (upper, work) = (layer.join("upper"), layer.join("work"));
    for folder in [&root, &upper, &work] {
        fs::create_dir_all(folder)?;
    }
    let lower = bundle.join("rootfs");
    let data = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    let data = std::ffi::CString::new(data)?;
    rustix::mount::mount(
        "overlay",
        &root,
        "overlay",
        MountFlags::empty(),
        Some(data.as_c_str()),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(folder: &Path) -> Options {
        Options {
            services: folder.join("services"),
            run: folder.join("run"),
            ..Options::default()
        }
    }

    fn add(options: &Options, name: &str, json: &str) {
        let folder = options.services.join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("service.json"), json).unwrap();
    }

    const PLAIN: &str = r#"{"description":"d","kind":"daemon","command":["c"]}"#;

    #[test]
    fn the_configuration_turns_services_on_and_off() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        for name in ["b", "a"] {
            add(&options, name, PLAIN);
        }
        add(
            &options,
            "c",
            &PLAIN.replace("\"command\"", "\"enabled\":false,\"command\""),
        );
        fs::create_dir_all(&options.run).unwrap();
        fs::write(options.config(), r#"{"services":{"b":false,"c":true}}"#).unwrap();
        let loaded: Vec<(String, bool)> = load(&options)
            .into_iter()
            .map(|it| (it.service.name, it.enabled))
            .collect();
        let expected = [("a", true), ("b", false), ("c", true)];
        assert_eq!(loaded, expected.map(|(n, e)| (n.to_owned(), e)));
    }

    #[test]
    fn a_broken_definition_or_configuration_stops_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        assert!(load(&options).is_empty());
        add(&options, "good", PLAIN);
        add(&options, "broken", "{");
        add(&options, "unknown", &PLAIN.replace("kind", "knid"));
        fs::create_dir_all(&options.run).unwrap();
        fs::write(options.config(), "{").unwrap();
        let loaded = load(&options);
        assert_eq!(loaded.len(), 1);
        let found = &loaded[0];
        assert_eq!((found.service.name.as_str(), found.enabled), ("good", true));
    }
}
