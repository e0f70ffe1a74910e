//! `rubus.toml`: what a user changes about an image.

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, ensure};
use rubus_config::settings::{
    Settings,
    values::{Hostname, SshKey},
};
use rubus_service::units::Size;
use serde::Deserialize;

use crate::{cli, lock, project::Project, services::variants::Kind, toml_file::TomlFile};

/// The name that is looked for in the current folder when no other is given.
pub const FILE_NAME: &str = "rubus.toml";

/// What a user changes about an image.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of the node.
    pub hostname: Option<Hostname>,
    /// Keys that may log in as `rubus`: the keys themselves, or files of them.
    pub ssh_keys: Vec<String>,
    /// Size of one slot.
    pub slot_size: Option<Size>,
    /// Services in (`true`, and on) or out (`false`) of the image.
    pub services: BTreeMap<String, bool>,
    /// Additions to services, by name.
    pub service: BTreeMap<String, Additions>,
    /// The engines of the image, by name or as folders of your own; the node
    /// starts with the first.
    pub engines: Vec<String>,
    /// The consoles of the image, in the same way.
    pub consoles: Vec<String>,
    /// Where Debian packages come from.
    pub mirror: Mirrors,
    /// The file, as it was named.
    #[serde(skip)]
    file: PathBuf,
    /// Where the file is; relative paths in it start there.
    #[serde(skip)]
    folder: PathBuf,
}

/// A variant of a service that an image is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// One that Rubus has, by its name or the beginning of it.
    Name(String),
    /// One of the user's own, by its folder.
    Folder(PathBuf),
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Folder(folder) => folder.display().fmt(f),
        }
    }
}

/// What a user adds to a service.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Additions {
    /// Further Debian packages.
    pub packages: Vec<String>,
    /// A folder whose content is laid over the service's root.
    pub files: Option<PathBuf>,
}

/// Where Debian packages come from.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Mirrors {
    /// Address of a mirror of `debian`, without the suite.
    pub debian: Option<String>,
    /// Address of a mirror of `debian-security`.
    pub security: Option<String>,
    /// Address of a mirror that keeps old versions.
    pub snapshot: Option<String>,
}

impl Config {
    /// Reads the given file, or `rubus.toml` in the current folder if there is
    /// one, or takes the defaults.
    ///
    /// # Errors
    /// When the file cannot be read, or says something that is not understood.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let path = match path {
            Some(path) => path,
            None if Path::new(FILE_NAME).is_file() => Path::new(FILE_NAME),
            None => return Ok(Self::default()),
        };
        let mut config: Self = TomlFile::read(path.to_path_buf())?.parse()?;
        config.file = path.to_path_buf();
        config.folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        Ok(config)
    }

    /// Adds keys, or files of keys relative to the current folder, as the
    /// command line gives them.
    ///
    /// # Errors
    /// When the current folder is gone.
    pub fn add_ssh_keys(&mut self, entries: &[String]) -> Result<()> {
        for entry in entries {
            self.ssh_keys
                .push(if looks_like_key(entry) || entry.starts_with("~/") {
                    entry.clone()
                } else {
                    let path =
                        std::path::absolute(entry).context("cannot tell the current folder")?;
                    path.display().to_string()
                });
        }
        Ok(())
    }

    /// Takes the variants that the command line names, in the place of those
    /// of the file.
    ///
    /// # Errors
    /// When the current folder is gone.
    pub fn choose_variants(&mut self, args: &cli::Variants) -> Result<()> {
        for (own, given) in [
            (&mut self.engines, &args.engine),
            (&mut self.consoles, &args.console),
        ] {
            if given.is_empty() {
                continue;
            }
            own.clear();
            for text in given {
                own.push(if is_path(text) {
                    let path =
                        std::path::absolute(text).context("cannot tell the current folder")?;
                    path.display().to_string()
                } else {
                    text.clone()
                });
            }
        }
        Ok(())
    }

    /// The variants of a service that are asked for.
    pub fn variants(&self, service: &str) -> Vec<Choice> {
        let wanted = match Kind::of(service) {
            Some(Kind::ENGINE) => &self.engines,
            Some(Kind::CONSOLE) => &self.consoles,
            _ => return Vec::new(),
        };
        let choice = |text: &String| {
            if is_path(text) {
                Choice::Folder(self.folder.join(text))
            } else {
                Choice::Name(text.clone())
            }
        };
        wanted.iter().map(choice).collect()
    }

    /// The settings that go into the image.
    ///
    /// # Errors
    /// When a key file cannot be read or holds no key.
    pub fn settings(&self) -> Result<Settings> {
        let mut settings = Settings {
            hostname: self.hostname.clone(),
            ..Settings::default()
        };
        for entry in &self.ssh_keys {
            settings.ssh.authorized_keys.extend(self.keys(entry)?);
        }
        for (name, on) in &self.services {
            if *on {
                settings.services.insert(name.clone(), true);
            }
        }
        Ok(settings)
    }

    /// The folder of additional files of a service.
    pub fn files(&self, service: &str) -> Option<PathBuf> {
        let files = self.service.get(service)?.files.as_ref()?;
        Some(self.folder.join(files))
    }

    /// The lock that holds what the image needs. What the user adds to the
    /// project is not in the project's own, so there is one beside the file, or
    /// beside the variant where only the command line names it.
    pub fn lock_path(&self, project: &Project) -> PathBuf {
        let own = self.own_variants();
        if !self.file.as_os_str().is_empty() && (self.adds_packages() || !own.is_empty()) {
            self.folder.join(lock::FILE_NAME)
        } else if let Some(folder) = own.first() {
            folder.join(lock::FILE_NAME)
        } else {
            project.lock()
        }
    }

    /// The command that makes that lock anew.
    pub fn lock_command(&self) -> String {
        let mut command = "rubus lock".to_owned();
        let own = self.own_variants();
        if !self.file.as_os_str().is_empty() && (self.adds_packages() || !own.is_empty()) {
            command.push_str(&format!(" --config {}", self.file.display()));
        }
        for kind in [Kind::ENGINE, Kind::CONSOLE] {
            for choice in self.variants(kind.service) {
                if let Choice::Folder(folder) = choice {
                    command.push_str(&format!(" --{} {}", kind.one, folder.display()));
                }
            }
        }
        command
    }

    fn own_variants(&self) -> Vec<PathBuf> {
        [Kind::ENGINE, Kind::CONSOLE]
            .into_iter()
            .flat_map(|kind| self.variants(kind.service))
            .filter_map(|choice| match choice {
                Choice::Folder(folder) => Some(folder),
                Choice::Name(_) => None,
            })
            .collect()
    }

    fn adds_packages(&self) -> bool {
        self.service
            .values()
            .any(|additions| !additions.packages.is_empty())
    }

    fn keys(&self, entry: &str) -> Result<Vec<SshKey>> {
        if looks_like_key(entry) {
            return Ok(vec![ssh_key(entry)?]);
        }
        let path = match entry.strip_prefix("~/") {
            Some(rest) => PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(rest),
            None => self.folder.join(entry),
        };
        let text = fs::read_to_string(&path).with_context(|| {
            format!(
                "cannot read the ssh key {}; give a public key or the path of one",
                path.display()
            )
        })?;
        ensure!(
            !text.contains("PRIVATE KEY"),
            "{} is a private key; give the public one ({}.pub)",
            path.display(),
            path.display()
        );
        let keys = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(ssh_key)
            .collect::<Result<Vec<_>>>()
            .with_context(|| format!("{} holds no ssh public key", path.display()))?;
        ensure!(!keys.is_empty(), "{} is empty", path.display());
        Ok(keys)
    }
}

/// Whether a variant is named by its folder: no name has a slash.
fn is_path(text: &str) -> bool {
    text.contains('/') || text.starts_with('.')
}

fn ssh_key(line: &str) -> Result<SshKey> {
    SshKey::try_from(line.trim()).map_err(|error| anyhow!(error))
}

/// Whether a text starts as a line of `authorized_keys` does.
fn looks_like_key(text: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"]
        .iter()
        .any(|prefix| text.trim_start().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_an_error_that_names_its_line_and_what_was_meant() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE_NAME);
        fs::write(&file, "hostname = \"a\"\nhostnmae = \"b\"").unwrap();
        let error = Config::load(Some(&file)).unwrap_err().to_string();
        assert!(
            error.contains("rubus.toml:2: unknown key \"hostnmae\""),
            "{error}"
        );
        assert!(error.ends_with("did you mean `hostname`?"), "{error}");
    }

    #[test]
    fn a_name_that_no_host_can_have_is_an_error_that_names_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE_NAME);
        fs::write(&file, "\nhostname = \"a.b\"\n").unwrap();
        let error = Config::load(Some(&file)).unwrap_err().to_string();
        assert!(
            error.contains("rubus.toml:2: `hostname`: \"a.b\" is not a host name"),
            "{error}"
        );
    }

    #[test]
    fn variants_are_names_or_folders_and_the_command_line_counts_more() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE_NAME);
        fs::write(&file, "engines = [\"docker-28\", \"./mine\"]\n").unwrap();
        let mut config = Config::load(Some(&file)).unwrap();
        assert_eq!(
            config.variants("docker"),
            [
                Choice::Name("docker-28".to_owned()),
                Choice::Folder(folder.path().join("./mine")),
            ]
        );
        assert_eq!(config.variants("console"), []);
        assert_eq!(config.variants("ntp"), []);

        let args = cli::Variants {
            engine: vec!["docker-20".to_owned()],
            console: vec!["/own/console".to_owned()],
        };
        config.choose_variants(&args).unwrap();
        let docker = [Choice::Name("docker-20".to_owned())];
        assert_eq!(config.variants("docker"), docker);
        let console = [Choice::Folder("/own/console".into())];
        assert_eq!(config.variants("console"), console);
    }

    #[test]
    fn what_the_user_adds_is_locked_beside_it() {
        let project = Project::find().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE_NAME);
        let config = |text: &str| {
            fs::write(&file, text).unwrap();
            Config::load(Some(&file)).unwrap()
        };
        let built_in = config("engines = [\"docker-28\"]");
        assert_eq!(built_in.lock_path(&project), project.lock());
        assert_eq!(built_in.lock_command(), "rubus lock");
        let own = folder.path().join(lock::FILE_NAME);
        for text in [
            "engines = [\"./mine\"]",
            "[service.console]\npackages = [\"git\"]",
        ] {
            assert_eq!(config(text).lock_path(&project), own, "{text}");
        }
        let named = Config {
            engines: vec!["/own/mine".to_owned()],
            ..Config::default()
        };
        assert_eq!(
            named.lock_path(&project),
            Path::new("/own/mine").join(lock::FILE_NAME)
        );
        assert_eq!(named.lock_command(), "rubus lock --engine /own/mine");
    }

    #[test]
    fn keys_are_taken_as_text_or_from_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.pub"), "# mine\nssh-ed25519 AAAA me\n").unwrap();
        fs::write(
            folder.path().join("b"),
            "-----BEGIN OPENSSH PRIVATE KEY-----",
        )
        .unwrap();
        fs::write(folder.path().join("c"), "hello").unwrap();
        let file = folder.path().join(FILE_NAME);
        let keys = |list: &str| {
            fs::write(&file, format!("ssh_keys = [{list}]")).unwrap();
            Config::load(Some(&file)).unwrap().settings()
        };
        let settings = keys("\"a.pub\", \"ecdsa-sha2-nistp256 BBBB\"").unwrap();
        assert_eq!(
            settings
                .ssh
                .authorized_keys
                .iter()
                .map(SshKey::as_str)
                .collect::<Vec<_>>(),
            ["ssh-ed25519 AAAA me", "ecdsa-sha2-nistp256 BBBB"]
        );
        assert!(keys("\"b\"").unwrap_err().to_string().contains("private"));
        assert!(
            keys("\"c\"")
                .unwrap_err()
                .to_string()
                .contains("no ssh public key")
        );
        assert!(keys("\"d\"").is_err());
    }
}
