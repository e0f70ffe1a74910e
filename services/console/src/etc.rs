//! `passwd`, `group` and `shadow` of the console. Where its root is read-only,
//! copies in memory lie over those of the image. Where the root is kept, they
//! are written as they are, because packages add users of their own to them, by
//! putting new files in their place; which entries are ours is kept beside them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sys::statvfs::{FsFlags, statvfs},
};
use rubus_config::files;

use crate::accounts::{Accounts, Added, Files, without};

const NAMES: [&str; 3] = ["passwd", "group", "shadow"];
/// Which entries of a root that is kept are ours.
const ADDED: &str = "people.json";

/// The account files.
#[derive(Debug)]
pub(crate) struct Etc {
    folder: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The files of the image, and the folder of the copies.
    Mounted {
        image: Files,
        copies: PathBuf,
    },
    Kept,
}

impl Etc {
    /// Takes those in `folder`. Where the root is read-only, copies in `copies`
    /// are mounted over them at once: even programs that run before anybody is
    /// added have to find root in them.
    ///
    /// # Errors
    /// When they cannot be read, or the kernel does not let us.
    pub(crate) fn take(folder: &Path, copies: &Path) -> Result<Etc, String> {
        let flags = statvfs(folder)
            .map_err(|error| format!("cannot look at {}: {error}", folder.display()))?
            .flags();
        let mut etc = Etc {
            folder: folder.to_path_buf(),
            kind: Kind::Kept,
        };
        if !flags.contains(FsFlags::ST_RDONLY) {
            return Ok(etc);
        }
        let image = etc.read()?;
        for (name, text) in with_names(&image) {
            let (source, target) = (copies.join(name), folder.join(name));
            files::replace_lazily(&source, text.as_bytes(), mode(name))
                .map_err(|error| format!("cannot write {}: {error}", source.display()))?;
            let none = None::<&str>;
            mount(Some(&source), &target, none, MsFlags::MS_BIND, none)
                .map_err(|error| format!("cannot mount over {}: {error}", target.display()))?;
        }
        let copies = copies.to_path_buf();
        etc.kind = Kind::Mounted { image, copies };
        Ok(etc)
    }

    /// Whether the root is kept.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self.kind, Kind::Kept)
    }

    /// What is there without anyone of the settings.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn base(&self) -> Result<Files, String> {
        match &self.kind {
            Kind::Mounted { image, .. } => Ok(image.clone()),
            Kind::Kept => Ok(without(&self.read()?, &self.added())),
        }
    }

    /// Writes what follows from the settings.
    ///
    /// # Errors
    /// When it cannot be written: then somebody may not be able to log in.
    pub(crate) fn write(&self, accounts: &Accounts) -> Result<(), String> {
        match &self.kind {
            Kind::Mounted { copies, .. } => {
                for (name, text) in with_names(&accounts.files) {
                    let path = copies.join(name);
                    files::overwrite(&path, text.as_bytes())
                        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
                }
                Ok(())
            }
            Kind::Kept => self
                .keep(accounts)
                .map_err(|error| format!("cannot write {}: {error}", self.folder.display())),
        }
    }

    /// An entry that is there and is not known to be ours would stay for ever:
    /// so it is noted before it is written.
    fn keep(&self, accounts: &Accounts) -> io::Result<()> {
        let known = self.added();
        let all = known.and(&accounts.added);
        if all != known {
            self.note(&all)?;
        }
        let now = self.read().unwrap_or_default();
        for ((name, text), (_, old)) in with_names(&accounts.files).zip(with_names(&now)) {
            if text != old {
                files::replace(&self.folder.join(name), text.as_bytes(), mode(name))?;
            }
        }
        if all != accounts.added {
            self.note(&accounts.added)?;
        }
        Ok(())
    }

    fn note(&self, added: &Added) -> io::Result<()> {
        let text = serde_json::to_vec(added)?;
        files::replace(&self.folder.join(ADDED), &text, 0o600)
    }

    fn added(&self) -> Added {
        let path = self.folder.join(ADDED);
        match fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?)) {
            Ok(added) => added,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Added::default(),
            Err(error) => {
                eprintln!(
                    "cannot read {}: {error}; whoever is no longer in the settings stays",
                    path.display()
                );
                Added::default()
            }
        }
    }

    fn read(&self) -> Result<Files, String> {
        let read = |name: &str| {
            let path = self.folder.join(name);
            fs::read_to_string(&path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))
        };
        let [passwd, group, shadow] = NAMES;
        Ok(Files {
            passwd: read(passwd)?,
            group: read(group)?,
            shadow: read(shadow)?,
        })
    }
}

fn with_names(files: &Files) -> impl Iterator<Item = (&'static str, &str)> {
    let texts = [&files.passwd, &files.group, &files.shadow];
    NAMES.into_iter().zip(texts.map(String::as_str))
}

fn mode(name: &str) -> u32 {
    if name == "shadow" { 0o600 } else { 0o644 }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::PermissionsExt};

    use serde_json::json;

    use super::*;
    use crate::accounts::{accounts, numbers, tests::settings};

    fn put(etc: &Etc, json: serde_json::Value) {
        let settings = settings(json);
        let base = etc.base().unwrap();
        let numbers = numbers(&settings, &BTreeMap::new(), &base.passwd);
        etc.write(&accounts(&base, &settings, &numbers)).unwrap();
    }

    /// A folder that can be written to, as that of a root that is kept.
    fn kept(name: &str) -> (PathBuf, Etc) {
        let folder = std::env::temp_dir().join(format!("etc-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in [
            ("passwd", "root:x:0:0::/root:/bin/sh\n"),
            ("group", "root:x:0:\ndocker:x:998:\n"),
            ("shadow", "root:*:::::::\n"),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        let etc = Etc::take(&folder, Path::new("/nonexistent")).unwrap();
        (folder, etc)
    }

    #[test]
    fn people_come_and_go_and_users_of_packages_stay() {
        let (folder, etc) = kept("come-and-go");
        let text = |name| fs::read_to_string(folder.join(name)).unwrap();
        put(
            &etc,
            json!({ "users": { "anna": { "groups": ["docker"] } } }),
        );
        assert!(text("passwd").contains("\nanna:"));
        assert!(text("group").contains("docker:x:998:anna\n"));
        let mode = fs::metadata(folder.join("shadow")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);

        // What `adduser` does: new files in place of the old.
        let with_package = text("passwd") + "postgres:x:110:110::/:/bin/sh\n";
        fs::remove_file(folder.join("passwd")).unwrap();
        fs::write(folder.join("passwd"), with_package).unwrap();

        put(&etc, json!({ "users": { "bert": {} } }));
        for name in NAMES {
            assert!(!text(name).contains("anna"), "{name}");
            assert!(text(name).contains("bert"), "{name}");
        }
        assert!(text("passwd").contains("\npostgres:x:110:"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_power_cut_leaves_nobody_who_stays_for_ever() {
        let (folder, etc) = kept("power-cut");
        put(&etc, json!({ "users": { "anna": {} } }));
        // Written, and the note not yet cleared of those who are gone.
        let note = fs::read(folder.join(ADDED)).unwrap();
        put(&etc, json!({}));
        fs::write(folder.join(ADDED), note).unwrap();
        put(&etc, json!({}));
        assert!(
            !fs::read_to_string(folder.join("passwd"))
                .unwrap()
                .contains("anna")
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
