//! `InRelease`: the signed list of a suite's index files.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use deb822_fast::Deb822;

use super::{
    signature::{Keyring, SignatureError},
    sources::Suite,
};
use crate::digest::Digest;

/// No `InRelease` is nearly as long as this.
pub const MAX_LENGTH: u64 = 4 << 20;

/// A suite as of a time, verified.
#[derive(Clone, Debug)]
pub struct Release {
    /// The code name.
    pub suite: String,
    /// When it was made, in seconds since 1970.
    pub date: u64,
    /// The hash of the `InRelease` file.
    pub sha256: Digest,
    /// Whether index files can be had by their hash.
    pub by_hash: bool,
    files: BTreeMap<String, (Digest, u64)>,
}

/// Why an `InRelease` file is not used.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// It is not signed as it has to be.
    #[error("the InRelease file of {suite} is not trusted: {error}")]
    Untrusted {
        /// The suite.
        suite: String,
        /// Why.
        #[source]
        error: SignatureError,
    },
    /// It is too old to be believed.
    #[error(
        "the InRelease file of {suite} was valid until {until}; the mirror is out of date \
         (choose another with `--mirror`), or the clock of this host is wrong"
    )]
    Expired {
        /// The suite.
        suite: String,
        /// As the file says it.
        until: String,
    },
    /// It is another suite's.
    #[error("the InRelease file of {suite} is one of {found}")]
    WrongSuite {
        /// The suite.
        suite: String,
        /// The code name in the file.
        found: String,
    },
    /// It makes no sense, though it is signed.
    #[error("the InRelease file of {suite} cannot be understood: {reason}")]
    Malformed {
        /// The suite.
        suite: String,
        /// What is wrong.
        reason: String,
    },
}

impl Release {
    /// Verifies and reads an `InRelease` file.
    ///
    /// `now` is in seconds since 1970.
    ///
    /// # Errors
    /// When its signature does not hold, it has expired, or it is another
    /// suite's.
    pub fn verify(
        file: &[u8],
        suite: &Suite,
        keyring: &Keyring,
        now: u64,
    ) -> Result<Self, ReleaseError> {
        let name = suite.name.to_owned();
        let text = std::str::from_utf8(file)
            .map_err(|error| SignatureError::Malformed(error.to_string()))
            .and_then(|message| keyring.verify(message, now))
            .map_err(|error| ReleaseError::Untrusted {
                suite: name.clone(),
                error,
            })?;
        let malformed = |reason: String| ReleaseError::Malformed {
            suite: name.clone(),
            reason,
        };

        let stanzas: Deb822 = text
            .parse()
            .map_err(|error: deb822_fast::Error| malformed(error.to_string()))?;
        let mut stanzas = stanzas.iter();
        let (Some(fields), None) = (stanzas.next(), stanzas.next()) else {
            return Err(malformed("it is not one stanza".into()));
        };
        let field = |field: &str| {
            fields
                .get(field)
                .ok_or_else(|| malformed(format!("there is no field {field}")))
        };
        let time = |field: &str, text: &str| {
            parse_date(text).ok_or_else(|| malformed(format!("{field}: {text:?} is not a date")))
        };

        let found = field("Codename")?;
        if found != suite.name {
            return Err(ReleaseError::WrongSuite {
                suite: name,
                found: found.to_owned(),
            });
        }
        if let Some(until) = fields.get("Valid-Until")
            && time("Valid-Until", until)? < now
        {
            return Err(ReleaseError::Expired {
                suite: name,
                until: until.to_owned(),
            });
        }
        Ok(Self {
            suite: suite.name.to_owned(),
            date: time("Date", field("Date")?)?,
            sha256: Digest::of(file),
            by_hash: fields.get("Acquire-By-Hash") == Some("yes"),
            files: parse_files(field("SHA256")?).map_err(malformed)?,
        })
    }

    /// Hash and length of an index file, by its path below the suite.
    pub fn file(&self, path: &str) -> Option<(Digest, u64)> {
        self.files.get(path).copied()
    }
}

fn parse_date(text: &str) -> Option<u64> {
    let date = NaiveDateTime::parse_from_str(text, "%a, %d %b %Y %H:%M:%S UTC").ok()?;
    date.and_utc().timestamp().try_into().ok()
}

/// Lines of `HASH LENGTH PATH`.
fn parse_files(text: &str) -> Result<BTreeMap<String, (Digest, u64)>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [hash, length, path] = words[..] else {
                return Err(format!("{line:?} is not a hash, a length and a path"));
            };
            let digest = hash.parse::<Digest>().map_err(|error| error.to_string())?;
            let length = length
                .parse()
                .map_err(|_| format!("{length:?} is not a length"))?;
            Ok((path.to_owned(), (digest, length)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use pgp::{
        composed::{
            ArmorOptions, CleartextSignedMessage, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
            SignedSecretKey,
        },
        types::{Password, Timestamp},
    };
    use rand::thread_rng;

    use super::*;
    use crate::debian::sources::suite;

    const TEXT: &str = "Origin: Debian\nCodename: trixie\n\
        Date: Fri, 20 Nov 2026 02:11:10 UTC\nValid-Until: Fri, 27 Nov 2026 02:11:10 UTC\n\
        Acquire-By-Hash: yes\nSHA256:\n \
        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 7 main/Packages\n";
    /// The 20th of November 2026, 12:00.
    const NOW: u64 = 1_795_176_000;

    fn key() -> SignedSecretKey {
        let mut key = SecretKeyParamsBuilder::default();
        key.key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .created_at(Timestamp::from_secs(1_500_000_000))
            .primary_user_id("Archive <archive@example.org>".into());
        key.build().unwrap().generate(thread_rng()).unwrap()
    }

    fn verify_at(text: &str, now: u64) -> Result<Release, ReleaseError> {
        let key = key();
        let message =
            CleartextSignedMessage::sign(thread_rng(), text, &key.primary_key, &Password::empty())
                .unwrap()
                .to_armored_string(ArmorOptions::default())
                .unwrap();
        let public = SignedPublicKey::from(key)
            .to_armored_string(ArmorOptions::default())
            .unwrap();
        let ring = Keyring::parse(&[&public]).unwrap();
        Release::verify(message.as_bytes(), suite("trixie").unwrap(), &ring, now)
    }

    fn verify(text: &str) -> Result<Release, ReleaseError> {
        // The signature is made by the clock of this host.
        verify_at(text, NOW.max(u64::from(Timestamp::now().as_secs())))
    }

    /// As [`TEXT`], valid for as long as the signatures of these tests.
    fn fresh() -> String {
        TEXT.replace("27 Nov 2026", "27 Nov 2099")
    }

    #[test]
    fn a_good_release_gives_its_files() {
        let release = verify(&fresh()).unwrap();
        assert_eq!(release.date, 1_795_140_670);
        assert!(release.by_hash);
        assert_eq!(release.file("main/Packages"), Some((Digest::of(b""), 7)));
        assert_eq!(release.file("main/Sources"), None);
    }

    #[test]
    fn an_expired_release_is_refused() {
        let old = TEXT.replace("Fri, 27 Nov 2026", "Sat, 27 Nov 2021");
        let error = verify(&old).unwrap_err();
        assert!(matches!(error, ReleaseError::Expired { .. }), "{error}");
    }

    #[test]
    fn a_release_without_an_end_does_not_expire() {
        let endless: String = TEXT
            .lines()
            .filter(|line| !line.starts_with("Valid-Until"))
            .map(|line| format!("{line}\n"))
            .collect();
        verify(&endless).unwrap();
    }

    #[test]
    fn another_suites_release_is_refused() {
        let error = verify(&fresh().replace("trixie", "bookworm")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the InRelease file of trixie is one of bookworm"
        );
    }

    #[test]
    fn a_key_that_is_not_debians_is_named() {
        let text = fresh();
        let key = key();
        let message =
            CleartextSignedMessage::sign(thread_rng(), &text, &key.primary_key, &Password::empty())
                .unwrap()
                .to_armored_string(ArmorOptions::default())
                .unwrap();
        let debian = Keyring::debian().unwrap();
        let error = Release::verify(message.as_bytes(), suite("trixie").unwrap(), &debian, NOW)
            .unwrap_err();
        assert!(matches!(
            error,
            ReleaseError::Untrusted {
                error: SignatureError::UnknownKey(_),
                ..
            }
        ));
    }

    #[test]
    fn a_signed_text_that_makes_no_sense_is_an_error() {
        for (from, to) in [
            ("Codename: trixie", "Suite: trixie"),
            ("Date: Fri, 20 Nov 2026", "Date: yesterday"),
            ("e3b0", "../."),
            (" 7 main", " -7 main"),
            (" 7 main", " main"),
            ("Origin: Debian\n", "Origin: Debian\n\n"),
        ] {
            let error = verify(&fresh().replace(from, to)).unwrap_err();
            assert!(matches!(error, ReleaseError::Malformed { .. }), "{error}");
        }
    }
}
