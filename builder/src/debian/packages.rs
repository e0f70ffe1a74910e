//! `Packages`: what a component of a suite has.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use deb822_fast::{Deb822, Paragraph};

use super::{sources::Suite, version::Version};
use crate::{digest::Digest, unpack::decompress};

/// The architecture of the boards.
pub const ARCHITECTURE: &str = "arm64";

/// No `.deb` may be longer.
pub const MAX_SIZE: u64 = 4 << 30;

/// No `Packages` file may be longer, unpacked.
const MAX_INDEX: u64 = 1 << 30;

/// A package that can be had.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// `arm64` or `all`.
    pub architecture: String,
    /// Where it is from.
    pub suite: &'static Suite,
    /// Its place in the archive, `pool/...`.
    pub path: String,
    /// Length of the file.
    pub size: u64,
    /// Hash of the file.
    pub sha256: Digest,
    /// `Pre-Depends` and `Depends`, as written.
    pub(crate) depends: String,
    /// `Provides`, as written.
    pub(crate) provides: String,
    /// How basic the package is: the lower, the more.
    pub(crate) priority: u8,
}

/// Reads a `Packages.xz` file whose hash has been checked.
///
/// # Errors
/// When it is not such a file.
pub fn read_index(path: &Path, suite: &'static Suite) -> Result<Vec<Package>> {
    let reading = || format!("cannot read the package list {}", path.display());
    let file = BufReader::new(File::open(path).with_context(reading)?);
    let text = decompress("xz", file).with_context(reading)?;
    parse_index(BufReader::with_capacity(64 * 1024, text), suite).with_context(reading)
}

fn parse_index(text: impl BufRead, suite: &'static Suite) -> Result<Vec<Package>> {
    Deb822::iter_paragraphs_from_reader(text.take(MAX_INDEX))
        .map(|stanza| parse_stanza(&stanza?, suite))
        .collect()
}

/// Reads the `control` file of a package whose place in the archive and hash are
/// known.
///
/// # Errors
/// When it is not such a file.
pub fn parse_control(
    control: &str,
    suite: &'static Suite,
    path: &str,
    size: u64,
    sha256: Digest,
) -> Result<Package> {
    // These are what a `Packages` file adds to it.
    let stanza = format!(
        "{}\nFilename: {path}\nSize: {size}\nSHA256: {sha256}\n",
        control.trim_end()
    );
    let mut packages = parse_index(stanza.as_bytes(), suite)?;
    ensure!(packages.len() == 1, "its control file is not one paragraph");
    packages.pop().context("its control file is empty")
}

fn parse_stanza(stanza: &Paragraph, suite: &'static Suite) -> Result<Package> {
    let name = stanza.get("Package").context("a package has no name")?;
    ensure!(is_package_name(name), "{name:?} is not a package name");
    let field = |field| {
        stanza
            .get(field)
            .with_context(|| format!("{name} has no field {field}"))
    };
    let architecture = field("Architecture")?;
    ensure!(
        matches!(architecture, ARCHITECTURE | "all"),
        "{name} is for {architecture}"
    );
    let path = field("Filename")?;
    check_pool_path(path)?;
    let size = field("Size")?
        .parse()
        .with_context(|| format!("{name} has an impossible size"))?;
    ensure!(size <= MAX_SIZE, "{name} is {size} bytes long");
    let relations = ["Pre-Depends", "Depends"]
        .into_iter()
        .filter_map(|field| stanza.get(field))
        .collect::<Vec<_>>();
    Ok(Package {
        name: name.to_owned(),
        version: Version::new(field("Version")?),
        architecture: architecture.to_owned(),
        suite,
        path: path.to_owned(),
        size,
        sha256: field("SHA256")?.parse()?,
        depends: relations.join(", "),
        provides: stanza.get("Provides").unwrap_or_default().to_owned(),
        priority: match stanza.get("Priority") {
            Some("required") => 0,
            Some("important") => 1,
            Some("standard") => 2,
            _ => 3,
        },
    })
}

/// Whether a text may be the name of a package.
pub fn is_package_name(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte)
        })
}

/// Checks that a path stays below an archive's `pool`.
///
/// # Errors
/// When it does not, or has characters that no file there has.
pub fn check_pool_path(path: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._~%:".contains(&byte);
    let Some(rest) = path.strip_prefix("pool/") else {
        bail!("{path:?} is not a path below pool/");
    };
    for part in rest.split('/') {
        ensure!(
            !matches!(part, "" | "." | "..") && part.bytes().all(plain),
            "{path:?} is not a path below pool/"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian::sources::suite;

    const STANZA: &str = "Package: hello\nVersion: 2.10-3\nArchitecture: arm64\n\
        Priority: required\nPre-Depends: dpkg (>= 1.15)\nDepends: libc6 (>= 2.34),\n libx\n\
        Provides: greeting\nFilename: pool/main/h/hello/hello_2.10-3_arm64.deb\nSize: 52\n\
        SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\n";

    fn parse(text: &str) -> Result<Vec<Package>> {
        parse_index(text.as_bytes(), suite("trixie").unwrap())
    }

    #[test]
    fn a_stanza_is_a_package() {
        let packages = parse(&STANZA.repeat(2)).unwrap();
        assert_eq!(packages.len(), 2);
        let package = &packages[0];
        assert_eq!(package.name, "hello");
        assert_eq!(package.version, Version::new("2.10-3"));
        assert_eq!(package.size, 52);
        assert_eq!(package.priority, 0);
        assert_eq!(package.provides, "greeting");
        assert_eq!(
            package.depends.split_whitespace().collect::<String>(),
            "dpkg(>=1.15),libc6(>=2.34),libx"
        );
    }

    #[test]
    fn a_hostile_stanza_is_an_error() {
        for (from, to) in [
            ("pool/main/h", "pool/../h"),
            ("pool/main/h", "/pool/main/h"),
            ("pool/main/h", "http://x/pool/h"),
            ("pool/main/h", "pool//h"),
            ("pool/main/h", "pool/h?x=/"),
            ("Size: 52", "Size: 9223372036854775808"),
            ("Size: 52", "Size: -1"),
            ("SHA256: e3", "SHA256: zz"),
            ("Package: hello", "Package: ../hello"),
            ("Architecture: arm64", "Architecture: amd64"),
            ("Version: 2.10-3\n", ""),
        ] {
            assert!(parse(&STANZA.replace(from, to)).is_err(), "{to}");
        }
    }
}
