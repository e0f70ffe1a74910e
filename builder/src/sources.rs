//! Where the parts of an image come from: mirrors, cache, keys.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;

use crate::{
    cache::Cache,
    cli,
    config::Config,
    debian::{
        archive::Sources,
        signature::Keyring,
        sources::{MirrorOptions, Mirrors},
    },
    fetch::Fetcher,
    lock::LockedImage,
    oci::{Credentials, Registry},
};

/// What fetching needs.
#[derive(Debug)]
pub struct Context {
    /// Debian mirrors.
    pub mirrors: Mirrors,
    /// Downloads.
    pub fetcher: Fetcher,
    /// What was downloaded.
    pub cache: Cache,
    keyring: Keyring,
}

impl Context {
    /// Chooses mirrors and opens the cache.
    ///
    /// # Errors
    /// When a mirror's address is wrong or the cache cannot be opened.
    pub fn new(config: &Config, args: &cli::Mirrors, offline: bool) -> Result<Self> {
        let own = &config.mirror;
        let options = MirrorOptions {
            mirror: args.mirror.clone().or_else(|| own.debian.clone()),
            security_mirror: args
                .security_mirror
                .clone()
                .or_else(|| own.security.clone()),
            snapshot_mirror: own.snapshot.clone(),
        };
        Ok(Self {
            mirrors: Mirrors::choose(&options, Path::new("/"))?,
            fetcher: Fetcher::new(offline),
            cache: Cache::open()?,
            keyring: Keyring::debian()?,
        })
    }

    /// What is needed to read package lists.
    ///
    /// # Errors
    /// When the clock is before 1970.
    pub fn sources(&self) -> Result<Sources<'_>> {
        Ok(Sources {
            mirrors: &self.mirrors,
            fetcher: &self.fetcher,
            cache: &self.cache,
            keyring: &self.keyring,
            now: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        })
    }

    /// Looks up images for the lock, by what services call them.
    ///
    /// # Errors
    /// When a registry does not have one.
    pub fn lock_images<'a>(
        &self,
        references: impl Iterator<Item = &'a String>,
    ) -> Result<Vec<LockedImage>> {
        let registry = self.registry()?;
        references
            .map(|reference| registry.lock(reference))
            .collect()
    }

    /// The registries, with the logins of whoever builds.
    ///
    /// # Errors
    /// When the logins cannot be read.
    pub fn registry(&self) -> Result<Registry<'_>> {
        let offline = self.fetcher.is_offline();
        Ok(Registry::new(
            &self.cache,
            Credentials::from_environment()?,
            offline,
        ))
    }
}
