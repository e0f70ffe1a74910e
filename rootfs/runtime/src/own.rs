//! Services that were added on the node, as they lie on disk: a folder each,
//! with the bundle in it. The rename that gives it its name is the last write
//! that makes one exist, and the first that removes it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rubus_service::{Service, oci::Config, own};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::{options::Options, report::report, variants::read_service};

/// Reads all of them but those whose name a service of the image has: `taken`
/// tells. One that cannot be read is there, so that people see it, and is told
/// about when it is to start.
pub(crate) fn load(options: &Options, taken: impl Fn(&str) -> bool) -> Vec<Service> {
    let folder = options.own_services();
    let mut services = Vec::new();
    for name in own::names(&folder) {
        if taken(&name) {
            report(format_args!(
                "{name}, which was added on this node, does not run: {}",
                shadowed(&name)
            ));
            continue;
        }
        match read_service(&folder.join(&name), &name) {
            Ok(service) => services.push(service),
            Err(_) => services.extend(unreadable(&name)),
        }
    }
    services
}

/// Why one does not run whose name the image has, too.
pub(crate) fn shadowed(name: &str) -> String {
    format!(
        "the image has a service {name} now; add yours again under another name, and take this \
         one away with `ros service remove {name}`"
    )
}

/// What stands in for a definition that cannot be read. It never runs: what is
/// wrong is found before each start.
fn unreadable(name: &str) -> Option<Service> {
    let text =
        r#"{"description":"added on this node, and damaged","kind":"daemon","restart":"never"}"#;
    let mut service: Service = serde_json::from_str(text).ok()?;
    name.clone_into(&mut service.name);
    Some(service)
}

/// Looks whether one can run; an error says what is wrong with it.
pub(crate) fn check(bundle: &Path, name: &str) -> Result<Service, String> {
    let cannot = |what: &str, error: io::Error| {
        format!(
            "it is damaged: cannot read {}: {error}; add it again, or remove it with \
             `ros service remove {name}`",
            bundle.join(what).display()
        )
    };
    let service = read_service(bundle, name).map_err(|error| cannot("service.json", error))?;
    fs::read(bundle.join("config.json"))
        .and_then(|text| Ok(serde_json::from_slice::<Config>(&text)?))
        .map_err(|error| cannot("config.json", error))?;
    fs::read_dir(bundle.join("rootfs")).map_err(|error| cannot("rootfs", error))?;
    Ok(service)
}

/// Makes one that is begun exist, at once in the place of a former one. What
/// the former one was lies where this one was begun then, and is the caller's
/// to delete.
pub(crate) fn place(folder: &Path, name: &str) -> io::Result<()> {
    let (begun, target) = (folder.join(own::begun(name)), folder.join(name));
    let flags = if target.exists() {
        RenameFlags::EXCHANGE
    } else {
        RenameFlags::NOREPLACE
    };
    renameat_with(CWD, begun, CWD, target, flags)?;
    File::open(folder)?.sync_all()
}

/// Ends the existence of one. Its files lie in the folder that is returned, and
/// are the caller's to delete: that takes long.
pub(crate) fn take_out(folder: &Path, name: &str) -> io::Result<PathBuf> {
    let aside = folder.join(own::removed(name));
    fs::rename(folder.join(name), &aside)?;
    File::open(folder)?.sync_all()?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use rubus_service::{Identity, workshop};

    use super::*;
    use crate::tidy;

    fn options(folder: &Path) -> Options {
        Options {
            state: folder.to_owned(),
            ..Options::default()
        }
    }

    fn service(description: &str) -> Service {
        let text = format!(
            "description = \"{description}\"\nkind = \"daemon\"\nimage = \"x\"\ncommand = [\"c\"]\n"
        );
        Service::parse_own("web", "f", &text).unwrap()
    }

    /// Each write that adding a service makes, in its order.
    fn writes(folder: &Path, service: &Service) -> Vec<Box<dyn Fn()>> {
        let begun = folder.join(own::begun("web"));
        let config = Config::new(service, &Identity::root()).to_json();
        let definition = serde_json::to_string(service).unwrap();
        let step = |path: &str, text: Option<String>| -> Box<dyn Fn()> {
            let path = begun.join(path);
            Box::new(move || match &text {
                Some(text) => fs::write(&path, text).unwrap(),
                None => fs::create_dir(&path).unwrap(),
            })
        };
        let folder = folder.to_owned();
        vec![
            step("", None),
            step("rootfs", None),
            step("rootfs/program", Some(service.description.clone())),
            step("config.json", Some(config)),
            step("service.json", Some(definition)),
            Box::new(move || place(&folder, "web").unwrap()),
        ]
    }

    /// What a boot finds: the definition and the root have to be of one.
    fn found(options: &Options) -> Option<String> {
        let services = load(options, |_| false);
        let service = services.first()?;
        let bundle = options.own_services().join("web");
        assert_eq!(check(&bundle, "web").as_ref(), Ok(service));
        let program = fs::read_to_string(bundle.join("rootfs/program")).unwrap();
        assert_eq!(program, service.description, "half of each");
        Some(program)
    }

    #[test]
    fn whenever_the_power_fails_there_is_the_old_one_or_the_new_one() {
        for before in [None, Some("old")] {
            let count = 6;
            for done in 0..=count {
                let state = tempfile::tempdir().unwrap();
                let options = options(state.path());
                let folder = options.own_services();
                fs::create_dir(&folder).unwrap();
                if let Some(before) = before {
                    writes(&folder, &service(before)).iter().for_each(|it| it());
                }
                let writes = writes(&folder, &service("new"));
                assert_eq!(writes.len(), count);
                writes[..done].iter().for_each(|it| it());
                let expected = if done == count { Some("new") } else { before };
                assert_eq!(found(&options).as_deref(), expected, "{done} writes");
                if done == count {
                    let left = folder.join(own::begun("web"));
                    assert_eq!(left.exists(), before.is_some(), "the former one");
                }
            }
        }
    }

    #[test]
    fn whatever_a_power_cut_left_is_deleted_at_boot_and_nothing_else() {
        let count = 6;
        for before in [false, true] {
            for done in 0..=count {
                for removed in [false, true] {
                    let state = tempfile::tempdir().unwrap();
                    let options = options(state.path());
                    let folder = options.own_services();
                    fs::create_dir(&folder).unwrap();
                    if before {
                        let former = writes(&folder, &service("old"));
                        former.iter().for_each(|it| it());
                    }
                    let writes = writes(&folder, &service("new"));
                    writes[..done].iter().for_each(|it| it());
                    let is_there = before || done == count;
                    let removed = removed && is_there;
                    if removed {
                        take_out(&folder, "web").unwrap();
                    }
                    let expected = found(&options);
                    tidy::delete_unfinished(&folder);
                    let context = format!("{before}, {done} writes, {removed}");
                    assert_eq!(found(&options), expected, "{context}");
                    let mut left: Vec<_> = fs::read_dir(&folder)
                        .unwrap()
                        .map(|it| it.unwrap().file_name())
                        .collect();
                    left.sort_unstable();
                    let web = (is_there && !removed).then_some("web");
                    let expected: Vec<_> = [workshop::LOCK].into_iter().chain(web).collect();
                    assert_eq!(left, expected, "{context}");
                }
            }
        }
    }

    #[test]
    fn one_that_is_removed_is_gone_before_its_files_are() {
        let state = tempfile::tempdir().unwrap();
        let options = options(state.path());
        let folder = options.own_services();
        fs::create_dir(&folder).unwrap();
        assert!(take_out(&folder, "web").is_err());
        writes(&folder, &service("d")).iter().for_each(|it| it());
        let aside = take_out(&folder, "web").unwrap();
        assert!(aside.join("rootfs/program").exists());
        assert_eq!(found(&options), None);
    }

    #[test]
    fn nothing_is_put_where_nothing_was_begun() {
        let state = tempfile::tempdir().unwrap();
        assert!(place(state.path(), "web").is_err());
        fs::create_dir(state.path().join("web")).unwrap();
        assert!(place(state.path(), "web").is_err());
        assert!(state.path().join("web").exists());
    }

    #[test]
    fn a_damaged_one_is_there_and_told_about_and_stops_no_other() {
        let state = tempfile::tempdir().unwrap();
        let options = options(state.path());
        let folder = options.own_services();
        fs::create_dir(&folder).unwrap();
        writes(&folder, &service("d")).iter().for_each(|it| it());
        fs::create_dir(folder.join("empty")).unwrap();
        fs::write(folder.join("file"), "").unwrap();
        let names: Vec<String> = load(&options, |it| it == "web")
            .into_iter()
            .map(|it| it.name)
            .collect();
        assert_eq!(names, ["empty", "file"], "web is the image's");
        let bundle = folder.join("web");
        for (what, text) in [("config.json", "{"), ("service.json", "{\"kind\"")] {
            fs::write(bundle.join(what), text).unwrap();
            let why = check(&bundle, "web").unwrap_err();
            assert!(why.contains(what) && why.contains("remove web"), "{why}");
        }
        let why = check(&folder.join("empty"), "empty").unwrap_err();
        assert!(why.contains("service.json"), "{why}");
    }
}
