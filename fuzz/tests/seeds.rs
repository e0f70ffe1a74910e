//! The seeds of the fuzzer, and what it found before, with a plain compiler.

use std::{fs, path::Path};

fn each(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        check(&fs::read(path).unwrap());
        seen += 1;
    }
    assert!(seen > 0, "{target} has no seeds");
}

#[test]
fn every_seed_is_survived() {
    each("user_data", rubus_fuzz::user_data);
    each("network_config", rubus_fuzz::network_config);
    each("service_toml", rubus_fuzz::service_toml);
    each("compose", rubus_fuzz::compose);
    each("package", rubus_fuzz::package);
}

/// What the project itself has of each kind.
#[test]
fn every_file_of_the_project_is_survived() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for service in fs::read_dir(project.join("services")).unwrap() {
        if let Ok(text) = fs::read(service.unwrap().path().join("service.toml")) {
            rubus_fuzz::service_toml(&text);
        }
    }
    for file in fs::read_dir(project.join("services/catalogue")).unwrap() {
        rubus_fuzz::compose(&fs::read(file.unwrap().path()).unwrap());
    }
}

/// A seed that is refused at its first key leads nowhere.
#[test]
fn the_seeds_that_hold_everything_are_understood() {
    let text = |path: &str| {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
        fs::read_to_string(seeds.join(path)).unwrap()
    };
    let name = rubus_compose::Name::OrElse("app");
    rubus_compose::Project::parse("all", name, &text("compose/all")).unwrap();
    rubus_service::Service::parse("name", "all", &text("service_toml/all")).unwrap();
}
