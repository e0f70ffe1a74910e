//! Reads suites from mirrors.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::{
    packages::{self, ARCHITECTURE, Package},
    release::{self, Release},
    resolve::Universe,
    signature::Keyring,
    sources::{Mirrors, Pool, Suite},
};
use crate::{
    cache::Cache,
    fetch::{Fetcher, Item, Progress},
};

/// What is needed to read suites.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// Where they are.
    pub mirrors: &'a Mirrors,
    /// How they are fetched.
    pub fetcher: &'a Fetcher,
    /// Where package lists are kept.
    pub cache: &'a Cache,
    /// Who may sign them.
    pub keyring: &'a Keyring,
    /// The time, in seconds since 1970.
    pub now: u64,
}

impl Sources<'_> {
    /// Reads all packages of some pools, and returns them with the releases
    /// that they are from, by name.
    ///
    /// # Errors
    /// When a file cannot be had, or is not what Debian signed.
    pub fn load(
        &self,
        pools: &[&'static Pool],
        progress: &dyn Progress,
    ) -> Result<(Universe, BTreeMap<String, Release>)> {
        let mut releases = BTreeMap::new();
        let mut lists = Vec::new();
        let mut items = Vec::new();
        for pool in pools {
            for suite in pool.suites {
                let release = self.release(suite)?;
                for component in suite.components {
                    items.push(self.list(suite, component, &release)?);
                    lists.push((pool.name, suite));
                }
                releases.insert(release.suite.clone(), release);
            }
        }
        let files = self.fetcher.fetch(self.cache, &items, progress)?;

        let mut found: BTreeMap<&str, Vec<Package>> = BTreeMap::new();
        for ((pool, suite), file) in lists.into_iter().zip(files) {
            let packages = packages::read_index(&file, suite)?;
            found.entry(pool).or_default().extend(packages);
        }
        let mut universe = Universe::default();
        for (pool, packages) in found {
            universe.add(pool, packages)?;
        }
        Ok((universe, releases))
    }

    /// Whether the suites of a pool can be read now.
    ///
    /// # Errors
    /// When the mirrors lack one, or what they have is too old to be believed.
    pub fn check(&self, pool: &Pool) -> Result<()> {
        pool.suites
            .iter()
            .try_for_each(|suite| self.release(suite).map(drop))
    }

    fn release(&self, suite: &Suite) -> Result<Release> {
        let path = format!("dists/{}/InRelease", suite.name);
        let urls = self.mirrors.urls(suite.archive, &path);
        let name = format!("the InRelease file of {}", suite.name);
        let file = self.fetcher.get(&name, &urls, release::MAX_LENGTH)?;
        Release::verify(&file, suite, self.keyring, self.now)
            .with_context(|| format!("cannot use {}", urls.join(" or ")))
    }

    fn list(&self, suite: &Suite, component: &str, release: &Release) -> Result<Item> {
        let folder = format!("{component}/binary-{ARCHITECTURE}");
        let Some((sha256, size)) = release.file(&format!("{folder}/Packages.xz")) else {
            bail!("{} has no package list of {component}", suite.name);
        };
        let below = format!("dists/{}/{folder}", suite.name);
        // By its hash, a list can be had even while the mirror is updated.
        let mut paths = vec![format!("{below}/Packages.xz")];
        if release.by_hash {
            paths.insert(0, format!("{below}/by-hash/SHA256/{sha256}"));
        }
        let urls = paths
            .iter()
            .flat_map(|path| self.mirrors.urls(suite.archive, path));
        Ok(Item {
            name: format!("package list of {} {component}", suite.name),
            urls: urls.collect(),
            sha256,
            size,
        })
    }
}
