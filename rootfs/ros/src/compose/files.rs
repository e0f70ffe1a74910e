//! Where compose files are: those of the image, and those that were added.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rubus_compose::{Name, Project};
use rubus_config::{files, paths};

/// What the name of a file ends with.
const SUFFIX: &str = ".yaml";

/// The compose files of a node.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    catalogue: PathBuf,
    own: PathBuf,
}

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It came with the image.
    Catalogue,
    /// It was added.
    Own,
}

impl Files {
    /// Those of the node whose filesystem is at `host`.
    pub(crate) fn of(host: &Path) -> Self {
        let inside = |path: &str| host.join(path.trim_start_matches('/'));
        Self {
            catalogue: inside(paths::CATALOGUE),
            own: inside(paths::COMPOSE),
        }
    }

    /// The names of all, each with whose it is.
    pub(crate) fn names(&self) -> Result<BTreeMap<String, Origin>> {
        let mut names = BTreeMap::new();
        for (folder, origin) in [
            (&self.catalogue, Origin::Catalogue),
            (&self.own, Origin::Own),
        ] {
            let entries = match fs::read_dir(folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read {}", folder.display()));
                }
            };
            for entry in entries {
                let name = entry?.file_name();
                if let Some(name) = name.to_str().and_then(|it| it.strip_suffix(SUFFIX)) {
                    names.insert(name.to_owned(), origin);
                }
            }
        }
        Ok(names)
    }

    /// The file of a name, if there is one.
    pub(crate) fn find(&self, name: &str) -> Result<Option<PathBuf>> {
        let origin = self.names()?.get(name).copied();
        Ok(origin.map(|origin| self.path(name, origin)))
    }

    /// The project of a name, if there is one.
    pub(crate) fn load(&self, name: &str) -> Result<Option<Project>> {
        let Some(path) = self.find(name)? else {
            return Ok(None);
        };
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Some(Project::parse(
            &path.display().to_string(),
            Name::Is(name),
            &text,
        )?))
    }

    /// Keeps a file under the name of its project. Returns whether it is in
    /// the place of another.
    pub(crate) fn keep(&self, project: &Project, text: &str) -> Result<bool> {
        let name = &project.name;
        let known = self.names()?.get(name).copied();
        if known == Some(Origin::Catalogue) {
            bail!("{name} is a service of the image; choose another name with `--name`");
        }
        DirBuilder::new()
            .recursive(true)
            // Files of this kind hold passwords.
            .mode(0o700)
            .create(&self.own)
            .with_context(|| format!("cannot make {}", self.own.display()))?;
        let path = self.path(name, Origin::Own);
        files::replace(&path, text.as_bytes(), 0o600)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(known.is_some())
    }

    /// Forgets a file that was added.
    pub(crate) fn forget(&self, name: &str) -> Result<()> {
        let path = self.path(name, Origin::Own);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    fn path(&self, name: &str, origin: Origin) -> PathBuf {
        let folder = match origin {
            Origin::Catalogue => &self.catalogue,
            Origin::Own => &self.own,
        };
        folder.join(format!("{name}{SUFFIX}"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn project(name: &str) -> Project {
        Project::parse("f", Name::Is(name), "services: {a: {image: x}}").unwrap()
    }

    #[test]
    fn files_are_kept_for_root_only_and_found_again() {
        let host = tempfile::tempdir().unwrap();
        let files = Files::of(host.path());
        assert!(files.names().unwrap().is_empty());
        assert_eq!(files.load("web").unwrap(), None);
        let text = "services: {a: {image: x}}";
        assert!(!files.keep(&project("web"), text).unwrap());
        assert!(files.keep(&project("web"), text).unwrap(), "again");
        assert_eq!(files.load("web").unwrap().unwrap(), project("web"));
        let path = host.path().join("var/lib/rubus/compose");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("web.yaml"))), (0o700, 0o600));
        files.forget("web").unwrap();
        assert!(files.names().unwrap().is_empty());
    }

    #[test]
    fn the_name_that_a_file_is_kept_under_counts_more_than_what_it_says() {
        let host = tempfile::tempdir().unwrap();
        let files = Files::of(host.path());
        let text = "name: shop\nservices: {a: {image: x}}";
        files.keep(&project("web"), text).unwrap();
        assert_eq!(files.load("web").unwrap().unwrap(), project("web"));
        assert_eq!(files.load("shop").unwrap(), None);
    }

    #[test]
    fn files_of_the_image_are_there_and_stay() {
        let host = tempfile::tempdir().unwrap();
        let folder = host.path().join("usr/share/rubus/catalogue");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("registry.yaml"), "services: {a: {image: x}}").unwrap();
        fs::write(folder.join("README"), "").unwrap();
        let files = Files::of(host.path());
        let names: Vec<_> = files.names().unwrap().into_iter().collect();
        assert_eq!(names, [("registry".to_owned(), Origin::Catalogue)]);
        let error = files.keep(&project("registry"), "").unwrap_err();
        assert!(error.to_string().contains("--name"), "{error}");
    }
}
