//! `rubus.lock`: exactly which packages and images a build uses.
//!
//! It names paths and hashes, never a host, and is written in a stable order, so
//! that a renewal shows as a small difference.

mod complete;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    debian::{
        archive::Sources,
        packages::{ARCHITECTURE, MAX_SIZE, Package, check_pool_path, is_package_name},
        resolve::Request,
        sources::{self, Archive, DEFAULT_RELEASE, Mirrors, Pool},
        version::Version,
    },
    digest::Digest,
    fetch::{Item, Progress},
};

/// The name of the file.
pub const FILE_NAME: &str = "rubus.lock";

/// The format that this builder reads and writes.
const FORMAT: u32 = 1;

const HEADER: &str = "\
# Which packages and images a build uses. Written by `rubus lock`; commit it.
";

/// A lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    /// When the newest of the releases was made, in seconds since 1970. It is
    /// the time of everything in the images.
    pub timestamp: u64,
    /// The releases that the packages are from.
    #[serde(default, rename = "release")]
    pub releases: Vec<LockedRelease>,
    #[serde(default, rename = "image", skip_serializing_if = "Vec::is_empty")]
    images: Vec<LockedImage>,
    #[serde(default, rename = "set")]
    sets: BTreeMap<String, LockedSet>,
    #[serde(default, rename = "package")]
    packages: Vec<LockedPackage>,
}

/// A release that packages are from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedRelease {
    /// The suite.
    pub suite: String,
    /// When it was made, in seconds since 1970.
    pub date: u64,
    /// The hash of its `InRelease`.
    pub sha256: Digest,
}

/// An OCI image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// As a service names it: `registry/name@sha256:...`.
    pub reference: String,
    /// The hash of the index or manifest that the reference names.
    pub sha256: Digest,
    /// The manifest of each platform, such as `linux/arm64`.
    pub platforms: BTreeMap<String, Digest>,
}

/// A request, and the packages that meet it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockedSet {
    packages: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    exclude: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    suite: Option<String>,
    /// `name=version`, in order.
    closure: BTreeSet<String>,
}

/// A package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// `arm64` or `all`.
    pub architecture: String,
    /// The suite that it is from.
    pub suite: String,
    /// The archive that has it.
    pub archive: Archive,
    /// Its place there, `pool/...`.
    pub path: String,
    /// Length of the file.
    pub size: u64,
    /// Hash of the file.
    pub sha256: Digest,
    /// When the newest release was made at the time when it came into a lock
    /// that was there already, in seconds since 1970: a snapshot mirror has it
    /// as of then, which is later than the time of the lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<u64>,
}

impl LockedPackage {
    /// `name=version`.
    pub fn id(&self) -> String {
        format!("{}={}", self.name, self.version)
    }

    /// What has to be fetched for it; `timestamp` is the lock's.
    pub fn item(&self, mirrors: &Mirrors, timestamp: u64) -> Item {
        Item {
            name: format!("{} {}", self.name, self.version),
            urls: mirrors.urls_with_snapshot(
                self.archive,
                &self.path,
                self.added.unwrap_or(timestamp),
            ),
            sha256: self.sha256,
            size: self.size,
        }
    }

    fn check(&self) -> Result<()> {
        let Self { name, version, .. } = self;
        ensure!(is_package_name(name), "{name:?} is not a package name");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.~:".contains(&byte);
        ensure!(
            !version.as_str().is_empty() && version.as_str().bytes().all(plain),
            "{name} has the impossible version {version:?}"
        );
        ensure!(
            matches!(self.architecture.as_str(), ARCHITECTURE | "all"),
            "{name} is for {}",
            self.architecture
        );
        ensure!(
            sources::suite(&self.suite).is_some_and(|suite| suite.archive == self.archive),
            "{name} is from {}, which is not a suite of {}",
            self.suite,
            self.archive
        );
        check_pool_path(&self.path)?;
        ensure!(self.size <= MAX_SIZE, "{name} is {} bytes long", self.size);
        Ok(())
    }
}

impl From<&Package> for LockedPackage {
    fn from(package: &Package) -> Self {
        Self {
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            suite: package.suite.name.to_owned(),
            archive: package.suite.archive,
            path: package.path.clone(),
            size: package.size,
            sha256: package.sha256,
            added: None,
        }
    }
}

/// What a lock and a definition disagree about.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{FILE_NAME} does not fit {origin}: {difference}; run `rubus lock`")]
pub struct Outdated {
    /// The definition.
    pub origin: String,
    /// What differs.
    pub difference: String,
}

impl Lock {
    /// Reads a lock, if there is one.
    ///
    /// # Errors
    /// When it cannot be read, or is not a lock.
    pub fn find(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let lock = Self::parse(&text).with_context(|| format!("cannot use {}", path.display()))?;
        Ok(Some(lock))
    }

    /// Parses a lock. It may come from anyone, as part of a repository, so
    /// nothing in it is believed.
    ///
    /// # Errors
    /// When it is not a lock, or names impossible things.
    pub fn parse(text: &str) -> Result<Self> {
        let lock: Self = toml::from_str(text)?;
        ensure!(
            lock.version == FORMAT,
            "it has the format {}, and this builder knows {FORMAT}; \
             use another version of rubus, or run `rubus lock`",
            lock.version
        );
        let mut ids = BTreeSet::new();
        for package in &lock.packages {
            package.check()?;
            ensure!(
                ids.insert(package.id()),
                "the package {} is listed twice",
                package.id()
            );
        }
        for (name, set) in &lock.sets {
            if let Some(id) = set.closure.difference(&ids).next() {
                bail!("the set {name:?} holds {id}, which is not among the packages");
            }
        }
        Ok(lock)
    }

    /// Writes it, so that the file is either the old one or the new one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let writing = || format!("cannot write {}", path.display());
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut file = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)
            .with_context(writing)?;
        file.write_all(self.to_text()?.as_bytes())
            .with_context(writing)?;
        file.as_file().sync_all().with_context(writing)?;
        file.persist(path).with_context(writing)?;
        Ok(())
    }

    /// Its text.
    ///
    /// # Errors
    /// Never, in practice: a lock is plain data.
    pub fn to_text(&self) -> Result<String> {
        Ok(format!("{HEADER}{}", toml::to_string_pretty(self)?))
    }

    /// The packages that meet a request, by name.
    ///
    /// # Errors
    /// When the lock was made for another request.
    pub fn set(&self, name: &str, request: &Request) -> Result<Vec<&LockedPackage>, Outdated> {
        let outdated = |difference: String| Outdated {
            origin: request.origin.clone(),
            difference,
        };
        let set = self
            .sets
            .get(name)
            .ok_or_else(|| outdated(format!("there is no set {name:?} in it")))?;
        if let Some(difference) = set.difference(request) {
            return Err(outdated(difference));
        }
        Ok(self
            .packages
            .iter()
            .filter(|package| set.closure.contains(&package.id()))
            .collect())
    }

    /// The names of all sets.
    pub fn set_names(&self) -> impl Iterator<Item = &str> {
        self.sets.keys().map(String::as_str)
    }

    /// An image, by the reference that a service gives.
    ///
    /// # Errors
    /// When it is not in the lock.
    pub fn image(&self, reference: &str, origin: &str) -> Result<&LockedImage, Outdated> {
        self.images
            .iter()
            .find(|image| image.reference == reference)
            .ok_or_else(|| Outdated {
                origin: origin.to_owned(),
                difference: format!("it asks for the image {reference}"),
            })
    }

    /// Whether an image is in the lock.
    pub fn has_image(&self, reference: &str) -> bool {
        self.images.iter().any(|image| image.reference == reference)
    }

    fn add_images(&mut self, images: Vec<LockedImage>) {
        self.images.extend(images);
        self.images.sort();
        self.images.dedup();
    }

    /// All packages, by name and version.
    pub fn packages(&self) -> &[LockedPackage] {
        &self.packages
    }
}

impl LockedSet {
    /// What a request asks for that this set was not made for, or the reverse.
    fn difference(&self, request: &Request) -> Option<String> {
        let first = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).next().cloned();
        if let Some(name) = first(&request.packages, &self.packages) {
            Some(format!("it asks for package {name}"))
        } else if let Some(name) = first(&self.packages, &request.packages) {
            Some(format!("it no longer asks for package {name}"))
        } else if let Some(name) = first(&request.exclude, &self.exclude) {
            Some(format!("it excludes package {name}"))
        } else if let Some(name) = first(&self.exclude, &request.exclude) {
            Some(format!("it no longer excludes package {name}"))
        } else if request.suite != self.suite {
            let suite = request.suite.as_deref().unwrap_or(DEFAULT_RELEASE);
            Some(format!("it asks for packages from {suite}"))
        } else {
            None
        }
    }
}

/// Makes a lock of what the mirrors have now. `images` have been looked up
/// before.
///
/// # Errors
/// When a suite cannot be read, or a request cannot be met.
pub fn renew(
    requests: &BTreeMap<String, Request>,
    images: Vec<LockedImage>,
    sources: &Sources<'_>,
    progress: &dyn Progress,
) -> Result<Lock> {
    let pools = pools(requests.values())?;
    let (universe, releases) = sources.load(&pools, progress)?;

    let mut packages = BTreeMap::new();
    let mut sets = BTreeMap::new();
    for (name, request) in requests {
        let closure = universe
            .closure(request)
            .with_context(|| format!("cannot lock {}", request.origin))?;
        let closure = closure.into_iter().map(LockedPackage::from).collect();
        sets.insert(name.clone(), add_set(&mut packages, request, closure)?);
    }
    let mut lock = Lock {
        version: FORMAT,
        timestamp: releases
            .values()
            .map(|release| release.date)
            .max()
            .unwrap_or(0),
        releases: releases
            .into_values()
            .map(|release| LockedRelease {
                suite: release.suite,
                date: release.date,
                sha256: release.sha256,
            })
            .collect(),
        images: Vec::new(),
        sets,
        packages: packages.into_values().collect(),
    };
    lock.add_images(images);
    Ok(lock)
}

/// The pools that requests are met from.
fn pools<'a>(requests: impl Iterator<Item = &'a Request>) -> Result<Vec<&'static Pool>> {
    let mut pools = vec![sources::pool(DEFAULT_RELEASE)?];
    for request in requests {
        if let Some(suite) = &request.suite {
            let pool =
                sources::pool(suite).with_context(|| format!("cannot lock {}", request.origin))?;
            if !pools.contains(&pool) {
                pools.push(pool);
            }
        }
    }
    Ok(pools)
}

/// Notes the closure of a request; its packages join those that are there.
fn add_set(
    packages: &mut BTreeMap<(String, Version), LockedPackage>,
    request: &Request,
    closure: Vec<LockedPackage>,
) -> Result<LockedSet> {
    let mut ids = BTreeSet::new();
    for locked in closure {
        ids.insert(locked.id());
        let known = packages
            .entry((locked.name.clone(), locked.version.clone()))
            .or_insert_with(|| locked.clone());
        ensure!(
            known.sha256 == locked.sha256,
            "there are two different packages {}, from {} and {}",
            locked.id(),
            known.suite,
            locked.suite
        );
    }
    Ok(LockedSet {
        packages: request.packages.clone(),
        exclude: request.exclude.clone(),
        suite: request.suite.clone(),
        closure: ids,
    })
}

/// How one lock differs from another, a line for each package and image, for
/// people.
pub fn changes(old: &Lock, new: &Lock) -> String {
    fn versions(lock: &Lock) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for package in &lock.packages {
            let known = versions.entry(&package.name).or_default();
            known.insert(package.version.as_str());
        }
        // A reference never stands for another image.
        for image in &lock.images {
            versions.insert(&image.reference, BTreeSet::new());
        }
        versions
    }
    fn list(versions: &BTreeSet<&str>) -> String {
        versions
            .iter()
            .map(|version| format!(" {version}"))
            .collect::<Vec<_>>()
            .join(",")
    }
    let (old, new) = (versions(old), versions(new));
    let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    let mut text = String::new();
    for name in names {
        // Writing to a string cannot fail.
        let _ = match (old.get(name), new.get(name)) {
            (Some(before), Some(after)) if before != after => {
                writeln!(text, "{name}{} -> {}", list(before), list(after).trim())
            }
            (Some(before), None) => writeln!(text, "{name}{} removed", list(before)),
            (None, Some(after)) => writeln!(text, "{name}{} added", list(after)),
            _ => Ok(()),
        };
    }
    text
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
