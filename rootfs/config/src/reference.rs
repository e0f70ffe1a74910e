//! `docs/reference/settings.md`, made from the settings: a page that says
//! something else fails the test.
//! `UPDATE_REFERENCE=1 cargo test -p rubus-config --features tools reference`
//! writes it anew.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use crate::keys::Schema;

const HEAD: &str = "\
# Settings

What `ros config` reads and changes, and what `rubus:` in `user-data` may hold. `NAME` stands for a
name that you choose, `N` for a place in a list, from 0. Keys with ¹ count from the next boot; the
values of those with ² are hidden unless `--private` is given. `ros config schema` prints the JSON
Schema.

| key | type | default | meaning |
|---|---|---|---|
";

#[test]
fn settings() {
    let mut page = HEAD.to_owned();
    for key in Schema::default().keys() {
        let marks = [(key.reboot, "¹"), (key.secret, "²")];
        let marks: String = marks.iter().filter(|it| it.0).map(|it| it.1).collect();
        let default = key.default.map_or_else(String::new, |it| format!("`{it}`"));
        writeln!(
            page,
            "| `{}`{marks} | {} | {default} | {} |",
            key.key,
            key.kind,
            key.text.replace('|', "\\|")
        )
        .unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/settings.md");
    if env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/reference/settings.md is not what the code says; run \
         UPDATE_REFERENCE=1 cargo test -p rubus-config --features tools reference"
    );
}

/// A service names the keys that it depends on; one that does not exist would
/// never restart it.
#[test]
fn services_depend_on_keys_that_exist() {
    let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services");
    let schema = Schema::default();
    let mut found = 0;
    for entry in fs::read_dir(services).unwrap() {
        let path = entry.unwrap().path().join("service.toml");
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let name = path.display().to_string();
        for key in rubus_service::Service::parse("x", &name, &text)
            .unwrap()
            .settings
        {
            assert!(
                schema.find(&key).is_ok(),
                "{name}: no key is called {key:?}"
            );
            found += 1;
        }
    }
    assert!(found > 0);
}
