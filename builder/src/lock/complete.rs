//! Adding to a lock what it lacks, with everything that is in it left alone.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::{Lock, LockedImage, LockedPackage, add_set, pools};
use crate::{
    debian::{
        archive::Sources,
        deb,
        packages::{self, Package},
        resolve::{Request, Universe},
        sources::{self, suite},
    },
    fetch::Progress,
};

impl Lock {
    /// The lock with the requests that it was not made for, and with further
    /// images. What it holds already keeps its version, also where one of these
    /// requests needs it and the mirrors have a newer one.
    ///
    /// # Errors
    /// When a suite cannot be read, or a request cannot be met without another
    /// version of what is locked.
    pub fn complete(
        &self,
        requests: &BTreeMap<String, Request>,
        images: Vec<LockedImage>,
        sources: &Sources<'_>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let missing: Vec<(&String, &Request)> = requests
            .iter()
            .filter(|(name, request)| self.set(name, request).is_err())
            .collect();
        let mut lock = self.clone();
        if !missing.is_empty() {
            let pools = pools(missing.iter().map(|(_, request)| *request))?;
            let (mut universe, releases) = sources.load(&pools, progress)?;
            let date = releases.values().map(|release| release.date).max();
            let mut packages = BTreeMap::new();
            for package in lock.packages.drain(..) {
                packages.insert((package.name.clone(), package.version.clone()), package);
            }
            for (name, request) in missing {
                let mut closure = self
                    .closure(&mut universe, request, sources)
                    .with_context(|| format!("cannot lock {}", request.origin))?;
                for package in &mut closure {
                    package.added = date.filter(|date| *date > lock.timestamp);
                }
                let set = add_set(&mut packages, request, closure)?;
                lock.sets.insert(name.clone(), set);
            }
            // What a changed request no longer needs.
            let used: BTreeSet<&String> = lock.sets.values().flat_map(|set| &set.closure).collect();
            lock.packages = packages
                .into_values()
                .filter(|package| used.contains(&package.id()))
                .collect();
        }
        lock.add_images(images);
        Ok(lock)
    }

    /// Takes sets over from an older lock as they are there, with the releases
    /// that only they are from.
    ///
    /// # Errors
    /// When that was made for other requests, or has another package under the
    /// same name and version.
    pub fn keep(&mut self, old: &Lock, requests: &BTreeMap<String, Request>) -> Result<()> {
        let mut packages = BTreeMap::new();
        for package in self.packages.drain(..) {
            packages.insert((package.name.clone(), package.version.clone()), package);
        }
        for (name, request) in requests {
            let mut closure: Vec<_> = old.set(name, request)?.into_iter().cloned().collect();
            for package in &mut closure {
                // A snapshot mirror has it as of the old lock.
                let since = package.added.unwrap_or(old.timestamp);
                package.added = Some(since).filter(|since| *since != self.timestamp);
                let release = old.releases.iter().find(|it| it.suite == package.suite);
                if let Some(release) = release
                    && !self.releases.iter().any(|it| it.suite == release.suite)
                {
                    self.releases.push(release.clone());
                }
            }
            let set = add_set(&mut packages, request, closure)?;
            self.sets.insert(name.clone(), set);
        }
        self.releases.sort_by(|a, b| a.suite.cmp(&b.suite));
        self.packages = packages.into_values().collect();
        Ok(())
    }

    /// The closure of a request in which locked packages keep their versions.
    fn closure(
        &self,
        universe: &mut Universe,
        request: &Request,
        sources: &Sources<'_>,
    ) -> Result<Vec<LockedPackage>> {
        let mut kept = 0;
        loop {
            let closure = match universe.closure(request) {
                Ok(closure) => closure,
                Err(error) if kept == 0 => return Err(error.into()),
                Err(error) => {
                    return Err(error).context(
                        "it does not go with the locked versions; \
                         `rubus lock` takes newer ones of everything",
                    );
                }
            };
            // Only what is chosen is looked at: a locked version that the
            // mirrors no longer list has to be read from its file.
            let moved: Vec<&LockedPackage> = closure
                .iter()
                .filter_map(|package| self.locked_instead(package))
                .collect();
            if moved.is_empty() {
                return Ok(closure.into_iter().map(LockedPackage::from).collect());
            }
            kept += moved.len();
            let moved: Vec<Package> = moved
                .into_iter()
                .map(|locked| {
                    read(locked, self.timestamp, sources)
                        .with_context(|| format!("cannot keep {} {}", locked.name, locked.version))
                })
                .collect::<Result<_>>()?;
            universe.replace(moved)?;
        }
    }

    /// The version of a package that is locked, where that is another one.
    fn locked_instead(&self, package: &Package) -> Option<&LockedPackage> {
        let pool = sources::pool_of(package.suite.name);
        let locked = || {
            self.packages
                .iter()
                .filter(|it| it.name == package.name && sources::pool_of(&it.suite) == pool)
        };
        if locked().any(|it| it.sha256 == package.sha256) {
            return None;
        }
        locked().max_by_key(|it| &it.version)
    }
}

/// What a locked package says of itself, from its file.
fn read(locked: &LockedPackage, timestamp: u64, sources: &Sources<'_>) -> Result<Package> {
    let item = locked.item(sources.mirrors, timestamp);
    let path = sources.cache.path(&item.sha256);
    sources.fetcher.fetch(sources.cache, &[item], &())?;
    let suite = suite(&locked.suite).context("it is from an unknown suite")?;
    let control = deb::control(&path)?;
    packages::parse_control(&control, suite, &locked.path, locked.size, locked.sha256)
}
