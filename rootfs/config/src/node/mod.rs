//! The settings of a node, as they lie on its disk.

mod firmware;
mod trial;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rubus_service::{Service, own};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::changes::{self, Effects};
use crate::document::{Document, Problem};
use crate::edit::{EditError, Edited, Editor};
use crate::files;
use crate::identity;
use crate::keys::Schema;
use crate::layers::{self, Merged};
use crate::paths;
use crate::settings::Settings;
use crate::store::{Folder, Store};
use crate::trial::Trial;
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
    /// The settings are on trial: what was set on the node does not count
    /// until this is over.
    pub trial: Option<Trial>,
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
    /// It was stored, but the slot does not have it.
    #[error(
        "stored, but cannot write config.txt of the slot: {0}; it is tried again at the next boot"
    )]
    Firmware(io::Error),
    /// Other settings are on trial.
    #[error(
        "settings are on trial ({0}); keep them with `ros config confirm`, or take them back \
         with `ros config revert`"
    )]
    OnTrial(String),
    /// No settings are on trial.
    #[error(
        "no settings are on trial; when its time was over they were taken back, and \
         `ros config get` shows what counts"
    )]
    NotOnTrial,
    /// A boot ends a trial, so it can never show what these do.
    #[error("{0} counts from the next boot, which would end a trial; set it without `--try`")]
    TrialOfBoot(String),
    /// Nobody would take the settings back.
    #[error("{0}; nothing was changed, for nobody would take it back")]
    Unwatched(String),
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

    /// Reads all layers; settings on trial stand in for those that were set on
    /// the node. Whatever is wrong with one of them, the others count.
    pub fn load(&self, schema: &Schema) -> Loaded {
        match self.trial() {
            Ok(None) => self.load_stored(schema),
            Ok(Some(trial)) => {
                let layer = Document::new("the settings on trial", trial.layer.clone());
                let user = (Ok(Some(layer)), None);
                Loaded {
                    trial: Some(trial),
                    ..self.load_layers(schema, self.first_boot_layer(), user)
                }
            }
            Err(problem) => {
                let mut loaded = self.load_stored(schema);
                loaded.merged.problems.push(problem);
                loaded
            }
        }
    }

    /// Reads all layers as a boot would find them.
    fn load_stored(&self, schema: &Schema) -> Loaded {
        self.load_with(schema, self.first_boot_layer())
    }

    fn first_boot_layer(&self) -> Result<Option<Document>, Problem> {
        let record = self.first_boot()?;
        Ok(record.map(|(file, it)| Document::new(&file, it.settings)))
    }

    /// Reads all layers but that of the first boot, which is given.
    pub fn load_with(
        &self,
        schema: &Schema,
        first_boot: Result<Option<Document>, Problem>,
    ) -> Loaded {
        self.load_layers(schema, first_boot, self.user())
    }

    /// Merges the layers; that of the node comes with what is wrong with its
    /// last version.
    fn load_layers(
        &self,
        schema: &Schema,
        first_boot: Result<Option<Document>, Problem>,
        (user, damage): (Result<Option<Document>, Problem>, Option<Problem>),
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
            trial: None,
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

    /// Makes a change: stores it and shows it to the services, unless `dry_run`
    /// only asks what would follow. `edit` gets the settings as they are when
    /// no one else changes them.
    ///
    /// # Errors
    /// When the change is wrong or cannot be written, or others are on trial.
    pub fn change(
        &self,
        schema: &Schema,
        dry_run: bool,
        edit: impl FnOnce(&Editor<'_>) -> Result<Edited, EditError>,
    ) -> Result<Effects, ChangeError> {
        // Held until the end: of two changes at once, neither may be lost.
        let _lock = (!dry_run).then(|| self.lock()).transpose()?;
        let planned = self.plan(schema, edit)?;
        if !dry_run {
            planned.must_not_be_on_trial()?;
            self.keep(&planned.edited.layer)?;
            self.show_stored(&planned.edited.settings)?;
            self.write_firmware(&planned.edited.settings.firmware)
                .map_err(ChangeError::Firmware)?;
        }
        Ok(planned.effects)
    }

    /// What a change comes to.
    fn plan(
        &self,
        schema: &Schema,
        edit: impl FnOnce(&Editor<'_>) -> Result<Edited, EditError>,
    ) -> Result<Planned, ChangeError> {
        let loaded = self.load(schema);
        if let Some(problem) = loaded.unreadable {
            return Err(EditError::from(problem).into());
        }
        let edited = edit(&Editor::new(schema, loaded.below, loaded.layer))?;
        let effects = self.effects(schema, &loaded.merged.settings, &edited.settings)?;
        if edited.settings.timezone != loaded.merged.settings.timezone {
            self.must_know_timezone(&edited.settings)?;
        }
        if edited.settings.firmware != loaded.merged.settings.firmware {
            self.must_have_firmware(&edited.settings)?;
        }
        Ok(Planned {
            edited,
            effects,
            trial: loaded.trial,
        })
    }

    /// Refuses a time zone of which this image has no rules.
    fn must_know_timezone(&self, settings: &Settings) -> Result<(), EditError> {
        let zones = self.inside(identity::ZONES);
        let zone = settings.timezone.as_str();
        if !zones.is_dir() || zones.join(zone).is_file() {
            return Ok(());
        }
        Err(EditError::Value {
            key: "timezone".to_owned(),
            message: format!("there is no time zone {zone:?}; write it as in \"Europe/Berlin\""),
        })
    }

    /// Refuses lines for a firmware that does not read any.
    fn must_have_firmware(&self, settings: &Settings) -> Result<(), EditError> {
        let slot = self.inside(paths::SLOT);
        if settings.firmware.config.is_empty() || !slot.is_dir() || self.has_firmware() {
            return Ok(());
        }
        Err(EditError::Value {
            key: "firmware.config".to_owned(),
            message: "the firmware of this board reads no config.txt".to_owned(),
        })
    }

    /// What follows from having other settings.
    fn effects(
        &self,
        schema: &Schema,
        old: &Settings,
        new: &Settings,
    ) -> Result<Effects, ChangeError> {
        let as_tree = |settings: &Settings| {
            serde_json::to_value(settings).map_err(|error| not_written(error.into()))
        };
        let (old, new) = (as_tree(old)?, as_tree(new)?);
        let changed = changes::changed(&old, &new);
        Ok(changes::effects(schema, &changed, &self.services(), &new))
    }

    /// Stores what was set on the node.
    fn keep(&self, layer: &Value) -> Result<(), ChangeError> {
        let text =
            toml::to_string_pretty(layer).map_err(|error| not_written(io::Error::other(error)))?;
        self.store(paths::USER_CONFIG)
            .write(&format!("{HEAD}{text}"))
            .map_err(not_written)
    }

    /// Shows the services what is stored.
    fn show_stored(&self, settings: &Settings) -> Result<(), ChangeError> {
        self.render(settings).map_err(|source| ChangeError::Render {
            path: paths::CONFIG.to_owned(),
            source,
        })
    }

    /// Shows settings to the services.
    ///
    /// # Errors
    /// When the file cannot be written; services keep the old one.
    pub fn render(&self, settings: &Settings) -> io::Result<()> {
        let tree = serde_json::to_value(settings)?;
        self.replace(paths::CONFIG, &serde_json::to_vec(&tree)?)?;
        for (service, bundle) in self.bundles() {
            if !service.settings.is_empty() {
                self.show(&service, user_of(&bundle), &tree)?;
            }
        }
        Ok(())
    }

    /// Shows a service that is being added what it may see; `user` is the
    /// number of the user that it runs as.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn introduce(&self, schema: &Schema, service: &Service, user: u32) -> io::Result<()> {
        if service.settings.is_empty() {
            return Ok(());
        }
        let settings = serde_json::to_value(self.load(schema).merged.settings)?;
        self.show(service, Some(user), &settings)
    }

    /// Shows a service what it may see: a file that only its user reads.
    fn show(&self, service: &Service, user: Option<u32>, settings: &Value) -> io::Result<()> {
        let folder = format!("{}/{}", paths::SETTINGS, service.name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(self.inside(&folder))?;
        let view = view::of(settings, &service.settings);
        let owner = user.filter(|user| *user != 0);
        let path = self.inside(&folder).join(view::FILE);
        files::replace_lazily_for(owner, &path, &serde_json::to_vec(&view)?, 0o600)
    }

    /// Replaces a file in memory as a whole, readable by root only.
    ///
    /// # Errors
    /// When it cannot be written; the old one is still there.
    pub fn replace(&self, path: &str, content: &[u8]) -> io::Result<()> {
        files::replace_lazily(&self.inside(path), content, 0o600)
    }

    /// The services of the image, and those that were added. One that cannot be
    /// read has no part in changes; the runtime says what is wrong with it.
    pub fn services(&self) -> Vec<Service> {
        self.bundles().into_iter().map(|(it, _)| it).collect()
    }

    /// All services by name, each with the folder of its bundle.
    fn bundles(&self) -> Vec<(Service, PathBuf)> {
        let image = self.inside(paths::SERVICES);
        let entries = fs::read_dir(&image).into_iter().flatten().flatten();
        let of_image = entries.map(|entry| entry.path());
        let own = self.inside(paths::OWN_SERVICES);
        let added = own::names(&own)
            .into_iter()
            // The runtime takes that of the image, too.
            .filter(|name| !image.join(name).exists())
            .map(|name| own.join(name));
        let mut bundles: Vec<(Service, PathBuf)> = of_image
            .chain(added)
            .filter_map(|bundle| {
                let text = fs::read(bundle.join("service.json")).ok()?;
                let mut service: Service = serde_json::from_slice(&text).ok()?;
                service.name = bundle.file_name()?.to_str()?.to_owned();
                Some((service, bundle))
            })
            .collect();
        bundles.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        bundles
    }

    /// Waits until no one else changes the settings. The lock ends with the
    /// file.
    fn lock(&self) -> Result<File, ChangeError> {
        let folder = self.inside(paths::USER_CONFIG_FOLDER);
        let lock = || {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)?;
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(folder.join("lock"))?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(not_written)
    }

    fn store(&self, name: &str) -> Store<Folder> {
        Store::new(Folder::new(self.inside(paths::USER_CONFIG_FOLDER)), name)
    }
}

/// A change that can be made.
struct Planned {
    edited: Edited,
    effects: Effects,
    /// What is on trial now.
    trial: Option<Trial>,
}

impl Planned {
    fn must_not_be_on_trial(&self) -> Result<(), ChangeError> {
        match &self.trial {
            Some(trial) => Err(ChangeError::OnTrial(trial.keys.join(", "))),
            None => Ok(()),
        }
    }
}

/// The number of the user that a service runs as. Its root may be anybody's
/// work, so it is not looked at again.
fn user_of(bundle: &Path) -> Option<u32> {
    #[derive(Deserialize)]
    struct Config {
        process: Process,
    }
    #[derive(Deserialize)]
    struct Process {
        user: User,
    }
    #[derive(Deserialize)]
    struct User {
        uid: u32,
    }
    let text = fs::read(bundle.join("config.json")).ok()?;
    let config: Config = serde_json::from_slice(&text).ok()?;
    Some(config.process.user.uid)
}

fn not_written(source: io::Error) -> ChangeError {
    ChangeError::Write {
        path: format!("{}/{}", paths::USER_CONFIG_FOLDER, paths::USER_CONFIG),
        source,
    }
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
mod tests;
