//! The settings of a node, as they lie on its disk.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rubus_service::{Identity, Service};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::changes::{self, Effects};
use crate::document::{Document, Problem};
use crate::edit::{EditError, Edited, Editor};
use crate::files;
use crate::keys::Schema;
use crate::layers::{self, Merged};
use crate::paths;
use crate::settings::Settings;
use crate::store::{Folder, Store};
use crate::view;

/// Stands before settings that were made on the node.
const HEAD: &str = "# The settings of this node; `ros config` changes them.\n";

/// A node, by the root of its filesystem.
#[derive(Clone, Debug)]
pub struct Node {
    root: PathBuf,
}

/// The layers of a node, and what they come to.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What came with the image and the first boot.
    pub below: Value,
    /// What was set on the node.
    pub layer: Value,
    /// All of them.
    pub merged: Merged,
    /// Files that there are, the strongest last.
    pub files: Vec<String>,
    /// Why what was set on the node cannot be read. A change would lose it.
    pub unreadable: Option<Problem>,
}

/// What a first boot brought, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FirstBoot {
    /// The instance that it is for.
    pub instance: String,
    /// Tells whether the files changed since.
    pub digest: String,
    /// What is worth knowing.
    pub notes: Vec<String>,
    /// What was asked for and is not done.
    pub unsupported: Vec<String>,
    /// The settings.
    pub settings: Value,
}

/// Why a change of the settings did not come about.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The change itself is wrong.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// It could not be written. The old settings count.
    #[error("cannot write {path}: {source}; nothing was changed")]
    Write {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It was stored, but services do not see it yet.
    #[error("stored, but cannot write {path}: {source}; it counts from the next boot")]
    Render {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl Node {
    /// The node whose filesystem is at `root`: `/` for itself.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Where a path of the node is, seen from here.
    pub fn inside(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Reads all layers. Whatever is wrong with one of them, the others count.
    pub fn load(&self, schema: &Schema) -> Loaded {
        let first_boot = self
            .first_boot()
            .map(|it| it.map(|(file, it)| Document::new(&file, it.settings)));
        self.load_with(schema, first_boot)
    }

    /// Reads all layers but that of the first boot, which is given.
    pub fn load_with(
        &self,
        schema: &Schema,
        first_boot: Result<Option<Document>, Problem>,
    ) -> Loaded {
        let mut problems = Vec::new();
        let mut files = Vec::new();
        let mut keep = |layer: Result<Option<Document>, Problem>| match layer {
            Ok(Some(document)) => {
                files.push(document.file.clone());
                Some(document)
            }
            Ok(None) => None,
            Err(problem) => {
                problems.push(problem);
                None
            }
        };
        let image = keep(self.image());
        let first_boot = keep(first_boot);
        let (user, damage) = self.user();
        let unreadable = user.as_ref().err().cloned();
        let user = keep(user);
        problems.extend(damage);

        let below = layers::merge(schema, image.iter().chain(&first_boot));
        let mut merged = layers::merge_over(schema, below.clone(), &user);
        problems.append(&mut merged.problems);
        merged.problems = problems;
        Loaded {
            below: below.said,
            layer: user.map_or_else(empty, |user| user.value),
            merged,
            files,
            unreadable,
        }
    }

    /// What the image was built with.
    fn image(&self) -> Result<Option<Document>, Problem> {
        match fs::read_to_string(self.inside(paths::IMAGE_CONFIG)) {
            Ok(text) => Document::from_toml(paths::IMAGE_CONFIG, &text).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(paths::IMAGE_CONFIG, &error)),
        }
    }

    /// What was set on the node, and whether it is not the last version.
    fn user(&self) -> (Result<Option<Document>, Problem>, Option<Problem>) {
        let path = format!("{}/{}", paths::USER_CONFIG_FOLDER, paths::USER_CONFIG);
        let stored = match self.store(paths::USER_CONFIG).read() {
            Ok(stored) => stored,
            Err(error) => return (Err(unreadable(&path, &error)), None),
        };
        let damage = stored.damage.map(|message| Problem {
            file: path.clone(),
            line: None,
            key: None,
            message,
        });
        if stored.text.is_empty() {
            return (Ok(None), damage);
        }
        (Document::from_toml(&path, &stored.text).map(Some), damage)
    }

    /// What the first boot brought, with the name of its file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn first_boot(&self) -> Result<Option<(String, FirstBoot)>, Problem> {
        let path = format!("{}/{}", paths::USER_CONFIG_FOLDER, paths::FIRST_BOOT_CONFIG);
        let stored = self
            .store(paths::FIRST_BOOT_CONFIG)
            .read()
            .map_err(|error| unreadable(&path, &error))?;
        if stored.text.is_empty() {
            return Ok(None);
        }
        let mut record: FirstBoot = toml::from_str(&stored.text).map_err(|error| Problem {
            file: path.clone(),
            line: None,
            key: None,
            message: error.message().to_owned(),
        })?;
        if record.settings.is_null() {
            record.settings = empty();
        }
        Ok(Some((path, record)))
    }

    /// Keeps what a first boot brought.
    ///
    /// # Errors
    /// When it cannot be written; what was kept before is still there.
    pub fn keep_first_boot(&self, record: &FirstBoot) -> io::Result<()> {
        let text = toml::to_string(record).map_err(io::Error::other)?;
        self.store(paths::FIRST_BOOT_CONFIG).write(&text)
    }

    /// Makes a change: stores it and shows it to the services, unless it is a
    /// trial. `edit` gets the settings as they are when no one else changes
    /// them.
    ///
    /// # Errors
    /// When the change is wrong or cannot be written.
    pub fn change(
        &self,
        schema: &Schema,
        trial: bool,
        edit: impl FnOnce(&Editor<'_>) -> Result<Edited, EditError>,
    ) -> Result<Effects, ChangeError> {
        let folder = self.inside(paths::USER_CONFIG_FOLDER);
        let not_written = |source| ChangeError::Write {
            path: format!("{}/{}", paths::USER_CONFIG_FOLDER, paths::USER_CONFIG),
            source,
        };
        // Held until the end: of two changes at once, neither may be lost.
        let _lock = (!trial)
            .then(|| lock(&folder))
            .transpose()
            .map_err(not_written)?;
        let loaded = self.load(schema);
        if let Some(problem) = loaded.unreadable {
            return Err(EditError::from(problem).into());
        }
        let editor = Editor::new(schema, loaded.below, loaded.layer);
        let edited = edit(&editor)?;
        let as_tree = |settings: &Settings| {
            serde_json::to_value(settings).map_err(|error| not_written(error.into()))
        };
        let old = as_tree(&loaded.merged.settings)?;
        let new = as_tree(&edited.settings)?;
        let changed = changes::changed(&old, &new);
        let effects = changes::effects(schema, &changed, &self.services(), &new);
        if !trial {
            let text = toml::to_string_pretty(&edited.layer)
                .map_err(|error| not_written(io::Error::other(error)))?;
            self.store(paths::USER_CONFIG)
                .write(&format!("{HEAD}{text}"))
                .map_err(not_written)?;
            self.render(&edited.settings)
                .map_err(|source| ChangeError::Render {
                    path: paths::CONFIG.to_owned(),
                    source,
                })?;
        }
        Ok(effects)
    }

    /// Shows settings to the services.
    ///
    /// # Errors
    /// When the file cannot be written; services keep the old one.
    pub fn render(&self, settings: &Settings) -> io::Result<()> {
        let tree = serde_json::to_value(settings)?;
        self.replace(paths::CONFIG, &serde_json::to_vec(&tree)?)?;
        for service in self.services() {
            if !service.settings.is_empty() {
                self.show(&service, &tree)?;
            }
        }
        Ok(())
    }

    /// Shows a service what it may see: a file that only its user reads.
    fn show(&self, service: &Service, settings: &Value) -> io::Result<()> {
        let folder = format!("{}/{}", paths::SETTINGS, service.name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(self.inside(&folder))?;
        let view = view::of(settings, &service.settings);
        let owner = self.user_of(service).filter(|owner| *owner != 0);
        let path = self.inside(&folder).join(view::FILE);
        files::replace_lazily_for(owner, &path, &serde_json::to_vec(&view)?, 0o600)
    }

    /// The number of the user that a service runs as.
    fn user_of(&self, service: &Service) -> Option<u32> {
        let root = self.inside(&format!("{}/{}/rootfs/etc", paths::SERVICES, service.name));
        let passwd = fs::read_to_string(root.join("passwd")).ok()?;
        Some(Identity::lookup(service.user(), &passwd, "")?.uid)
    }

    /// Replaces a file in memory as a whole, readable by root only.
    ///
    /// # Errors
    /// When it cannot be written; the old one is still there.
    pub fn replace(&self, path: &str, content: &[u8]) -> io::Result<()> {
        files::replace_lazily(&self.inside(path), content, 0o600)
    }

    /// The services of the image. One that cannot be read has no part in
    /// changes; the runtime says what is wrong with it.
    fn services(&self) -> Vec<Service> {
        let entries = fs::read_dir(self.inside(paths::SERVICES));
        let mut services: Vec<Service> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let text = fs::read(entry.path().join("service.json")).ok()?;
                let mut service: Service = serde_json::from_slice(&text).ok()?;
                service.name = entry.file_name().into_string().ok()?;
                Some(service)
            })
            .collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        services
    }

    fn store(&self, name: &str) -> Store<Folder> {
        Store::new(Folder::new(self.inside(paths::USER_CONFIG_FOLDER)), name)
    }
}

/// Waits until no one else changes the settings. The lock ends with the file.
fn lock(folder: &Path) -> io::Result<File> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join("lock"))?;
    file.lock()?;
    Ok(file)
}

fn empty() -> Value {
    Value::Object(Map::new())
}

fn unreadable(file: &str, error: &io::Error) -> Problem {
    Problem {
        file: file.to_owned(),
        line: None,
        key: None,
        message: format!("cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Folders(tempfile::TempDir);

    impl Folders {
        fn new() -> (Self, Node) {
            let folder = tempfile::tempdir().unwrap();
            let node = Node::new(folder.path());
            let it = Self(folder);
            fs::create_dir_all(node.inside(paths::RUN)).unwrap();
            it.write(
                "usr/share/rubus/config.toml",
                "hostname = \"image\"\nssh.port = 23\n",
            );
            let service =
                "description = \"d\"\nkind = \"daemon\"\ncommand = [\"c\"]\nsettings = [\"ssh\"]";
            let service = Service::parse("console", "f", service).unwrap();
            it.write(
                "usr/lib/rubus/services/console/service.json",
                &serde_json::to_string(&service).unwrap(),
            );
            (it, node)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn rendered(node: &Node) -> Value {
        serde_json::from_slice(&fs::read(node.inside(paths::CONFIG)).unwrap()).unwrap()
    }

    #[test]
    fn services_look_where_their_settings_are_put() {
        use rubus_service::mounts;
        assert_eq!(paths::SETTINGS, mounts::SETTINGS);
        assert_eq!(
            paths::OWN_SETTINGS,
            format!("{}/{}", mounts::SETTINGS_INSIDE, view::FILE)
        );
    }

    #[test]
    fn a_change_is_stored_rendered_and_told() {
        let (_folders, node) = Folders::new();
        let schema = Schema::default();
        let set = |key: &str, value: &str, trial| {
            node.change(&schema, trial, |it| it.set(key, &[value.to_owned()]))
        };
        let effects = set("ssh.port", "24", true).unwrap();
        assert_eq!(
            (&effects.changed[..], &effects.restart[..]),
            (&["ssh.port".to_owned()][..], &["console".to_owned()][..])
        );
        assert!(!node.inside(paths::USER_CONFIG_FOLDER).exists());

        assert_eq!(set("ssh.port", "24", false).unwrap(), effects);
        assert_eq!(rendered(&node)["ssh"]["port"], 24);
        assert_eq!(rendered(&node)["hostname"], "image");
        let shown = fs::read(node.inside("/run/rubus/settings/console/settings.json")).unwrap();
        let shown: Value = serde_json::from_slice(&shown).unwrap();
        assert_eq!(shown["ssh"]["port"], 24);
        assert_eq!(shown.get("hostname"), None, "it sees what it names only");
        let loaded = node.load(&schema);
        assert_eq!(loaded.layer, json!({"ssh": {"port": 24}}));
        assert!(loaded.merged.problems.is_empty());
        assert_eq!(loaded.files.len(), 2);

        assert!(set("ssh.port", "0", false).is_err());
        assert_eq!(node.load(&schema).layer, json!({"ssh": {"port": 24}}));
        node.change(&schema, false, |it| it.unset("ssh.port"))
            .unwrap();
        assert_eq!(rendered(&node)["ssh"]["port"], 23);
    }

    #[test]
    fn every_layer_counts_and_the_one_of_the_node_wins() {
        let (_folders, node) = Folders::new();
        let record = FirstBoot {
            instance: "i-1".to_owned(),
            settings: json!({"hostname": "first", "timezone": "Europe/Berlin"}),
            ..FirstBoot::default()
        };
        node.keep_first_boot(&record).unwrap();
        assert_eq!(node.first_boot().unwrap().unwrap().1, record);
        let schema = Schema::default();
        node.change(&schema, false, |it| {
            it.set("hostname", &["mine".to_owned()])
        })
        .unwrap();
        let settings = node.load(&schema).merged.settings;
        assert_eq!(settings.hostname.unwrap().as_str(), "mine");
        assert_eq!(settings.timezone.as_str(), "Europe/Berlin");
        assert_eq!(settings.ssh.port.get(), 23);
    }

    #[test]
    fn broken_files_are_named_and_the_rest_counts() {
        let (folders, node) = Folders::new();
        let schema = Schema::default();
        folders.write("var/lib/rubus/config/config.toml", "hostname = \n# end\n");
        folders.write("var/lib/rubus/config/first-boot.toml", "instance = \"x\"");
        let loaded = node.load(&schema);
        assert_eq!(loaded.merged.settings.hostname.unwrap().as_str(), "image");
        let problems: Vec<String> = loaded
            .merged
            .problems
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("/var/lib/rubus/config/first-boot.toml: cannot be read"));
        assert!(problems[1].starts_with("/var/lib/rubus/config/config.toml:1: "));

        // A change must not replace what a person can still repair.
        let set = |it: &Editor<'_>| it.set("ssh.port", &["24".to_owned()]);
        let error = node.change(&schema, false, set).unwrap_err().to_string();
        assert!(
            error.starts_with("/var/lib/rubus/config/config.toml:1: "),
            "{error}"
        );

        folders.write("usr/share/rubus/config.toml", "hostnam = \"x\"");
        let loaded = node.load(&schema);
        assert_eq!(loaded.merged.settings, Settings::default());
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let (_folders, node) = Folders::new();
        let schema = &Schema::default();
        std::thread::scope(|scope| {
            for i in 0..8 {
                let node = &node;
                scope.spawn(move || {
                    let key = format!("services.s{i}");
                    node.change(schema, false, |it| it.set(&key, &["true".to_owned()]))
                        .unwrap();
                });
            }
        });
        assert_eq!(node.load(schema).merged.settings.services.len(), 8);
    }
}
