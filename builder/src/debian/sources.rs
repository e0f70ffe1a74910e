//! Debian's suites, and the mirrors that they are read from.

use std::{collections::BTreeSet, fmt, fs, path::Path};

use anyhow::{Result, bail, ensure};
use chrono::DateTime;
use deb822_fast::Deb822;
use rubus_service::suggest::nearest;
use serde::{Deserialize, Serialize};

/// The release that images are made of.
pub const DEFAULT_RELEASE: &str = "trixie";

/// One of Debian's archives; each is a folder at the top of a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Archive {
    /// The archive proper.
    #[serde(rename = "debian")]
    Debian,
    /// Security updates.
    #[serde(rename = "debian-security")]
    Security,
}

impl Archive {
    /// The name of its folder.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Security => "debian-security",
        }
    }
}

impl fmt::Display for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.folder())
    }
}

/// A suite: one `InRelease` file and the packages below it.
#[derive(Debug, PartialEq, Eq)]
pub struct Suite {
    /// Its code name, as in `dists/NAME`.
    pub name: &'static str,
    /// Where it is.
    pub archive: Archive,
    /// What of it is used.
    pub components: &'static [&'static str],
}

/// Suites that packages are taken from together: of each package, the highest
/// version among them.
#[derive(Debug, PartialEq, Eq)]
pub struct Pool {
    /// What a request calls it.
    pub name: &'static str,
    /// The suites.
    pub suites: &'static [Suite],
}

const COMPONENTS: &[&str] = &["main", "non-free-firmware"];

const fn main_archive(name: &'static str) -> Suite {
    Suite {
        name,
        archive: Archive::Debian,
        components: COMPONENTS,
    }
}

const fn security(name: &'static str) -> Suite {
    Suite {
        name,
        archive: Archive::Security,
        components: COMPONENTS,
    }
}

/// Everything that packages can be asked from. Only the first pool is used for
/// a request that names none; the others give what is asked from them, and what
/// that needs and the first cannot give.
pub const POOLS: &[Pool] = &[
    Pool {
        name: DEFAULT_RELEASE,
        suites: &[
            main_archive("trixie"),
            main_archive("trixie-updates"),
            security("trixie-security"),
        ],
    },
    Pool {
        name: "trixie-backports",
        suites: &[main_archive("trixie-backports")],
    },
    Pool {
        name: "bookworm",
        suites: &[
            main_archive("bookworm"),
            main_archive("bookworm-updates"),
            security("bookworm-security"),
        ],
    },
    Pool {
        name: "sid",
        suites: &[main_archive("sid")],
    },
];

/// Finds a pool by its name.
///
/// # Errors
/// When there is none; the error suggests one.
pub fn pool(name: &str) -> Result<&'static Pool> {
    if let Some(pool) = POOLS.iter().find(|pool| pool.name == name) {
        return Ok(pool);
    }
    let names = POOLS.iter().map(|pool| pool.name);
    match nearest(name, names.clone()) {
        Some(near) => bail!("there is no suite {name:?}; did you mean {near:?}?"),
        None => bail!(
            "there is no suite {name:?}; there are {}",
            names.collect::<Vec<_>>().join(", ")
        ),
    }
}

/// The pool that a suite is part of.
pub fn pool_of(suite: &str) -> Option<&'static Pool> {
    POOLS
        .iter()
        .find(|pool| pool.suites.iter().any(|it| it.name == suite))
}

/// Finds one of the suites by its code name.
pub fn suite(name: &str) -> Option<&'static Suite> {
    POOLS
        .iter()
        .flat_map(|pool| pool.suites)
        .find(|suite| suite.name == name)
}

/// What the user says about mirrors.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorOptions {
    /// A mirror, up to and including `/debian`.
    pub mirror: Option<String>,
    /// A mirror of security updates, up to and including `/debian-security`.
    pub security_mirror: Option<String>,
    /// A mirror of all that ever was, laid out as `ARCHIVE/TIMESTAMP/`.
    pub snapshot_mirror: Option<String>,
}

/// The mirrors in use; no name in the lock depends on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrors {
    debian: Vec<String>,
    security: Vec<String>,
    snapshot: Option<String>,
}

impl Mirrors {
    /// Chooses mirrors: those that the user names, else those that the host's
    /// apt uses if the host is Debian, else Debian's own.
    ///
    /// `root` is the host's root folder.
    ///
    /// # Errors
    /// When a mirror that the user names is not an `http` or `https` address.
    pub fn choose(options: &MirrorOptions, root: &Path) -> Result<Self> {
        let host = if is_debian(root) {
            apt_mirrors(root)
        } else {
            BTreeSet::new()
        };
        let pick = |asked: &Option<String>, archive: Archive, own: &str| -> Result<Vec<String>> {
            if let Some(url) = asked {
                return Ok(vec![checked(url)?]);
            }
            let mut urls: Vec<String> = host
                .iter()
                .filter(|(found, _)| *found == archive)
                .map(|(_, url)| url.clone())
                .collect();
            if urls.is_empty() {
                urls.push(own.to_owned());
            }
            Ok(urls)
        };
        Ok(Self {
            debian: pick(
                &options.mirror,
                Archive::Debian,
                "http://ftp.debian.org/debian",
            )?,
            security: pick(
                &options.security_mirror,
                Archive::Security,
                "http://security.debian.org/debian-security",
            )?,
            snapshot: options
                .snapshot_mirror
                .as_deref()
                .map(checked)
                .transpose()?,
        })
    }

    /// The addresses of a file on the mirrors.
    pub fn urls(&self, archive: Archive, path: &str) -> Vec<String> {
        let mirrors = match archive {
            Archive::Debian => &self.debian,
            Archive::Security => &self.security,
        };
        let escaped = escape(path);
        mirrors
            .iter()
            .map(|mirror| format!("{mirror}/{escaped}"))
            .collect()
    }

    /// The same, with the snapshot mirror, as of a time, in the last place.
    pub fn urls_with_snapshot(&self, archive: Archive, path: &str, time: u64) -> Vec<String> {
        let mut urls = self.urls(archive, path);
        let date = i64::try_from(time)
            .ok()
            .and_then(|time| DateTime::from_timestamp(time, 0));
        if let (Some(snapshot), Some(date)) = (&self.snapshot, date) {
            urls.push(format!(
                "{snapshot}/{archive}/{}/{}",
                date.format("%Y%m%dT%H%M%SZ"),
                escape(path)
            ));
        }
        urls
    }
}

/// Versions may hold `+`, `~` and, in names of epochs, `%`: all but `%` may
/// stand as they are, and `%` must not be taken for an escape.
fn escape(path: &str) -> String {
    path.replace('%', "%25")
}

fn checked(url: &str) -> Result<String> {
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    ensure!(
        rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')),
        "the mirror {url:?} is not an http:// or https:// address"
    );
    Ok(url.trim_end_matches('/').to_owned())
}

fn is_debian(root: &Path) -> bool {
    fs::read_to_string(root.join("etc/os-release")).is_ok_and(|text| {
        text.lines()
            .any(|line| matches!(line.trim(), "ID=debian" | "ID=\"debian\""))
    })
}

/// The mirrors of Debian's archives in the host's apt sources. What cannot be
/// read or understood is passed over: it is apt's business to complain.
fn apt_mirrors(root: &Path) -> BTreeSet<(Archive, String)> {
    let etc = root.join("etc/apt");
    let mut files = vec![etc.join("sources.list")];
    if let Ok(entries) = fs::read_dir(etc.join("sources.list.d")) {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    let mut found = BTreeSet::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => found.extend(text.lines().filter_map(one_line_source)),
            Some("sources") => {
                if let Ok(stanzas) = text.parse::<Deb822>() {
                    found.extend(stanzas.iter().flat_map(stanza_sources));
                }
            }
            _ => {}
        }
    }
    found
}

/// `deb [options] URI SUITE COMPONENT...`
fn one_line_source(line: &str) -> Option<(Archive, String)> {
    let rest = line.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_whitespace();
    let (uri, _suite) = (words.next()?, words.next()?);
    debian_mirror(uri, words)
}

fn stanza_sources(stanza: &deb822_fast::Paragraph) -> Vec<(Archive, String)> {
    let words = |field| stanza.get(field).unwrap_or_default().split_whitespace();
    if !words("Types").any(|kind| kind == "deb")
        || words("Enabled").any(|value| matches!(value, "no" | "false" | "0"))
    {
        return Vec::new();
    }
    words("URIs")
        .filter_map(|uri| debian_mirror(uri, words("Components")))
        .collect()
}

/// An address is taken for a mirror of Debian when its path says so and it has
/// Debian's first component. A wrong guess fails at the signature.
fn debian_mirror<'a>(
    uri: &str,
    mut components: impl Iterator<Item = &'a str>,
) -> Option<(Archive, String)> {
    let uri = checked(uri).ok()?;
    let archive = match uri.rsplit('/').next()? {
        "debian" => Archive::Debian,
        "debian-security" => Archive::Security,
        _ => return None,
    };
    components
        .any(|component| component == "main")
        .then_some((archive, uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn urls(root: &tempfile::TempDir, options: &MirrorOptions) -> [Vec<String>; 2] {
        let mirrors = Mirrors::choose(options, root.path()).unwrap();
        [Archive::Debian, Archive::Security].map(|archive| mirrors.urls(archive, "x"))
    }

    const DEBIAN: (&str, &str) = ("etc/os-release", "NAME=Debian\nID=debian\n");

    #[test]
    fn a_host_that_is_not_debian_uses_debians_own_mirrors() {
        let apt = "deb http://mirror.example/debian trixie main\n";
        let root = host(&[
            ("etc/os-release", "ID=ubuntu\nID_LIKE=debian\n"),
            ("etc/apt/sources.list", apt),
        ]);
        assert_eq!(
            urls(&root, &MirrorOptions::default()),
            [
                ["http://ftp.debian.org/debian/x"],
                ["http://security.debian.org/debian-security/x"]
            ]
        );
    }

    #[test]
    fn a_debian_host_uses_the_mirrors_of_its_apt() {
        let root = host(&[
            DEBIAN,
            (
                "etc/apt/sources.list",
                "# deb http://commented.example/debian trixie main\n\
                 deb-src http://source.example/debian trixie main\n\
                 deb [arch=amd64 signed-by=/x] http://list.example/debian/ trixie main contrib\n\
                 deb cdrom:[Debian]/ trixie main\n\
                 deb https://other.example/linux/debian trixie stable\n",
            ),
            (
                "etc/apt/sources.list.d/debian.sources",
                "Types: deb deb-src\nURIs: https://one.example/debian-security\n  \
                 http://two.example/x/debian-security/\nSuites: trixie-security\n\
                 Components: main\n\n\
                 Types: deb\nEnabled: no\nURIs: http://off.example/debian\n\
                 Suites: trixie\nComponents: main\n",
            ),
            (
                "etc/apt/sources.list.d/old.list.save",
                "deb http://saved.example/debian trixie main\n",
            ),
        ]);
        assert_eq!(
            urls(&root, &MirrorOptions::default()),
            [
                vec!["http://list.example/debian/x"],
                vec![
                    "http://two.example/x/debian-security/x",
                    "https://one.example/debian-security/x"
                ]
            ]
        );
    }

    #[test]
    fn what_the_user_names_comes_first() {
        let apt = "deb http://mirror.example/debian trixie main\n";
        let root = host(&[DEBIAN, ("etc/apt/sources.list", apt)]);
        let options = MirrorOptions {
            mirror: Some("http://mine.example/debian/".into()),
            ..MirrorOptions::default()
        };
        assert_eq!(
            urls(&root, &options),
            [
                ["http://mine.example/debian/x"],
                ["http://security.debian.org/debian-security/x"]
            ]
        );
        for bad in ["", "file:///debian", "http://", "mine.example/debian"] {
            let options = MirrorOptions {
                mirror: Some(bad.into()),
                ..MirrorOptions::default()
            };
            assert!(Mirrors::choose(&options, root.path()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_snapshot_mirror_is_asked_last_and_as_of_the_lock() {
        let options = MirrorOptions {
            mirror: Some("http://mine.example/debian".into()),
            snapshot_mirror: Some("http://old.example/archive".into()),
            ..MirrorOptions::default()
        };
        let mirrors = Mirrors::choose(&options, Path::new("/nonexistent")).unwrap();
        assert_eq!(
            mirrors.urls_with_snapshot(Archive::Debian, "pool/a_1%3a2.deb", 1_000_000_000),
            [
                "http://mine.example/debian/pool/a_1%253a2.deb",
                "http://old.example/archive/debian/20010909T014640Z/pool/a_1%253a2.deb"
            ]
        );
    }

    #[test]
    fn an_unknown_suite_is_an_error_with_a_suggestion() {
        assert_eq!(pool("trixie-backports").unwrap().name, "trixie-backports");
        let error = pool("trixie-backport").unwrap_err().to_string();
        assert!(
            error.contains("did you mean \"trixie-backports\"?"),
            "{error}"
        );
        assert!(pool("stretch").unwrap_err().to_string().contains("sid"));
    }
}
