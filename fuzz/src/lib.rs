//! What has to hold of a parser whatever it is given.
//!
//! Each function takes any bytes, and panics where a promise is broken. The
//! fuzzer looks for such bytes; a test gives them what is in `seeds`, where also
//! goes what the fuzzer found, so that it stays mended.

use std::{fs, path::Path};

use rubus::{
    cache::Cache,
    debian::deb::{self, Control, Deb},
    digest::Digest,
    tree::Tree,
    unpack::Filter,
};
use rubus_compose::{
    Name, Project,
    plan::{self, Existing, Present, Step},
};
use rubus_config::{
    first_boot::{self, Files},
    keys::Schema,
    layers,
};
use rubus_service::{Identity, Service, Source, oci};

/// Files of a first boot give settings that are valid and can be kept, and
/// lines that a log can show.
fn first_boot(name: &str, data: &[u8]) {
    let schema = Schema::default();
    let files = Files {
        contents: vec![(name.to_owned(), data.to_vec())],
        others: Vec::new(),
    };
    let found = first_boot::read(&schema, &files);
    layers::check(&schema, &found.settings).expect("the settings are valid");
    toml::to_string(&found).expect("it can be kept");
    for line in found.notes.iter().chain(&found.unsupported) {
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.chars().count() <= 300, "{line:?}");
    }
}

/// `user-data` on the first partition.
pub fn user_data(data: &[u8]) {
    let mut text = b"#cloud-config\n".to_vec();
    text.extend(data);
    first_boot("user-data", &text);
    // Without the first line it is something else, which must do no harm either.
    first_boot("user-data", data);
}

/// `network-config` on the first partition.
pub fn network_config(data: &[u8]) {
    first_boot("network-config", data);
}

/// `service.toml`: a definition reads back as what was written, becomes a bundle,
/// and can be varied.
pub fn service_toml(data: &[u8]) {
    const BASE: &str = "description = \"d\"\nkind = \"daemon\"\ncommand = [\"c\"]\n";

    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let file = |text| Source { file: "f", text };
    // An error has a line of its own for where and what.
    match Service::parse("name", "f", text) {
        Ok(service) => {
            let json = serde_json::to_string(&service).expect("it can be written");
            let again: Service = serde_json::from_str(&json).expect("it can be read");
            assert_eq!(again, service);
            let _ = oci::Config::new(&service, &Identity::root()).to_json();
            let _ = Service::parse_variant("name", "other", file(text), file(BASE));
        }
        Err(error) => assert!(error.to_string().starts_with("f"), "{error}"),
    }
    let _ = Service::parse_variant("name", "other", file(BASE), file(text));
    match Service::parse_own("name", "f", text) {
        Ok(service) => drop(oci::Config::new(&service, &Identity::root()).to_json()),
        Err(error) => assert!(error.to_string().starts_with("f"), "{error}"),
    }
}

/// A compose file: what it asks for can be done, and is then there.
pub fn compose(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(project) = Project::parse("f", Name::OrElse("app"), text) else {
        return;
    };
    assert!(!project.name.contains(['/', '\0']) && !project.name.starts_with('.'));
    let outside = project.volumes.iter().filter(|(_, it)| it.external);
    let mut present = Present {
        volumes: outside.map(|(name, _)| project.volume_name(name)).collect(),
        ..Present::default()
    };
    let steps = plan::up(&project, &present).expect("all that it needs from others is there");
    for step in steps {
        match step {
            Step::Pull(image) => drop(present.images.insert(image)),
            Step::MakeNetwork => present.network = true,
            Step::MakeVolume(name) => drop(present.volumes.insert(project.volume_name(&name))),
            Step::Create(container) => present.containers.push(Existing {
                id: container.name.clone(),
                name: container.name.clone(),
                service: container.service.clone(),
                hash: container.hash.clone(),
                running: false,
            }),
            Step::Start(name) => {
                let mut all = present.containers.iter_mut();
                let it = all.find(|it| it.name == name).expect("it was made before");
                it.running = true;
            }
            Step::Wait(name, _) => {
                assert!(present.containers.iter().any(|it| it.name == name));
            }
            Step::Stop(_) | Step::Remove(_) | Step::RemoveNetwork => {
                panic!("there was nothing to end: {step:?}")
            }
        }
    }
    assert_eq!(present.containers.len(), project.services.len());
    let again = plan::up(&project, &present).expect("it worked before");
    assert!(
        again.iter().all(|step| matches!(step, Step::Wait(..))),
        "{again:?}"
    );
    let _ = plan::stop(&project, &present);
    let _ = plan::down(&project, &present);
}

/// A Debian package: what is unpacked stays below the root.
///
/// # Panics
/// Also when no temporary files can be made.
pub fn package(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("it.deb");
    fs::write(&path, data).expect("a file can be written");
    let _ = Control::read(&path);
    let cache = Cache::at(folder.path().join("cache")).expect("a folder can be made");
    let deb = Deb {
        name: "it".to_owned(),
        path,
        sha256: Digest::of(data),
        size: data.len() as u64,
        filter: Filter::everything(),
    };
    if let Ok(tree) = deb::unpack(&deb, &cache) {
        stays_inside(&tree);
    }
}

fn stays_inside(tree: &Tree) {
    for (path, _) in tree.iter() {
        let plain = Path::new(path)
            .components()
            .all(|it| matches!(it, std::path::Component::Normal(_)));
        assert!(plain, "{path}");
    }
}
