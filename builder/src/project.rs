//! The checkout: where definitions, programs and the lock are.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::toml_file::TomlFile;

/// A checkout of Rubus.
#[derive(Clone, Debug)]
pub struct Project {
    root: PathBuf,
}

impl Project {
    /// The checkout that the current folder is in, else the one that this
    /// program was compiled in.
    ///
    /// # Errors
    /// When there is none.
    pub fn find() -> Result<Self> {
        let here = env::current_dir().context("cannot tell the current folder")?;
        let compiled_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let root = here
            .ancestors()
            .map(Path::to_path_buf)
            .chain([compiled_in])
            .find(|folder| folder.join("boards").is_dir() && folder.join("services").is_dir());
        match root {
            Some(root) => Ok(Self {
                root: root
                    .canonicalize()
                    .with_context(|| format!("cannot reach {}", root.display()))?,
            }),
            None => bail!(
                "no folder with boards/ and services/ at or above {}; run rubus in a checkout",
                here.display()
            ),
        }
    }

    /// The top folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// One TOML file a board.
    pub fn boards(&self) -> PathBuf {
        self.root.join("boards")
    }

    /// One folder a service.
    pub fn services(&self) -> PathBuf {
        self.root.join("services")
    }

    /// One TOML file a sample function.
    pub fn functions(&self) -> PathBuf {
        self.root.join("functions")
    }

    /// Compose files of services that are ready to be enabled on a node.
    pub fn catalogue(&self) -> PathBuf {
        self.root.join("services/catalogue")
    }

    /// The lock of everything that the project itself defines.
    pub fn lock(&self) -> PathBuf {
        self.root.join("rubus.lock")
    }

    /// The Debian part of the system root.
    ///
    /// # Errors
    /// When `rootfs/system.toml` cannot be read or says something else.
    pub fn system(&self) -> Result<SystemRoot> {
        TomlFile::read(self.root.join("rootfs/system.toml"))?.parse()
    }
}

/// The content of `rootfs/system.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemRoot {
    /// Debian packages that `init` and the runtime call.
    pub packages: Vec<String>,
    /// Packages to leave out although something depends on them.
    pub exclude: Vec<String>,
    /// The programs that stay; all others in the packages are left out.
    pub keep_programs: Vec<String>,
    /// Folders that stay with everything in them.
    #[serde(default)]
    pub keep_folders: Vec<String>,
}
