//! OpenPGP: which text is signed by a key that is trusted.

use chrono::DateTime;
use pgp::{
    composed::{CleartextSignedMessage, Deserializable, SignedPublicKey, SignedPublicSubKey},
    crypto::hash::HashAlgorithm,
    packet::{Signature, SignatureType, SubpacketData},
    types::{KeyDetails, Tag},
};

/// The keys that Debian's archives are signed with; `builder/keys/README.md`
/// says which and how to check them.
const DEBIAN_KEYS: &[&str] = &[
    include_str!("../../keys/debian-archive-trixie-automatic.asc"),
    include_str!("../../keys/debian-archive-trixie-security-automatic.asc"),
    include_str!("../../keys/debian-archive-trixie-stable.asc"),
    include_str!("../../keys/debian-archive-bookworm-security-automatic.asc"),
];

/// How far ahead of this host's clock a signature may have been made.
const CLOCK_SKEW: u64 = 60 * 60;

/// Why a text is not trusted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is not a clear-signed message, or there is text around the signed part.
    #[error("it is not an OpenPGP clear-signed message: {0}")]
    Malformed(String),
    /// A trusted key is named, but it did not sign this text.
    #[error("the signature by key {0} is broken: the text was changed")]
    Broken(String),
    /// The key has expired.
    #[error("it is signed with key {key}, which expired on {date}")]
    ExpiredKey {
        /// The key.
        key: String,
        /// When it expired.
        date: String,
    },
    /// The signature itself was good only up to a time.
    #[error("the signature by key {key} expired on {date}")]
    ExpiredSignature {
        /// The key.
        key: String,
        /// When it expired.
        date: String,
    },
    /// The owner has revoked the key.
    #[error("it is signed with key {0}, which its owner has revoked")]
    Revoked(String),
    /// The key may not sign, or the primary key does not vouch for it.
    #[error("it is signed with key {0}, which is not a valid signing key")]
    NotForSigning(String),
    /// The signature lies in the future.
    #[error("key {key} signed it on {date}, which is in the future; set the clock of this host")]
    Future {
        /// The key.
        key: String,
        /// When it was signed.
        date: String,
    },
    /// The hash can be forged.
    #[error("the signature by key {key} uses {hash}, which is too weak")]
    WeakHash {
        /// The key.
        key: String,
        /// The algorithm.
        hash: String,
    },
    /// No trusted key is among the signers.
    #[error("it is signed with a key that is not known ({0})")]
    UnknownKey(String),
}

impl SignatureError {
    /// The more telling of several failures has the lower rank.
    fn rank(&self) -> u8 {
        match self {
            Self::Broken(_) => 0,
            Self::Revoked(_) => 1,
            Self::ExpiredKey { .. } => 2,
            Self::ExpiredSignature { .. } => 3,
            Self::Future { .. } => 4,
            Self::NotForSigning(_) => 5,
            Self::WeakHash { .. } => 6,
            Self::UnknownKey(_) => 7,
            Self::Malformed(_) => 8,
        }
    }
}

/// Keys that are trusted.
#[derive(Clone, Debug)]
pub struct Keyring {
    keys: Vec<SignedPublicKey>,
}

impl Keyring {
    /// Debian's archive keys.
    ///
    /// # Errors
    /// Never for the keys of this source tree.
    pub fn debian() -> Result<Self, SignatureError> {
        Self::parse(DEBIAN_KEYS)
    }

    /// Reads armored keys.
    ///
    /// # Errors
    /// When one is not a public key.
    pub fn parse(armored: &[&str]) -> Result<Self, SignatureError> {
        let keys = armored
            .iter()
            .map(|text| SignedPublicKey::from_string(text).map(|(key, _)| key))
            .collect::<Result<_, _>>()
            .map_err(malformed)?;
        Ok(Self { keys })
    }

    /// The text of a clear-signed message, if a trusted key has signed it.
    ///
    /// `now` is in seconds since 1970.
    ///
    /// # Errors
    /// When no signature by a trusted key holds.
    pub fn verify(&self, message: &str, now: u64) -> Result<String, SignatureError> {
        let (message, _) = CleartextSignedMessage::from_string(message).map_err(malformed)?;
        let text = message.signed_text();
        let mut worst = SignatureError::Malformed("it has no signature".into());
        for signature in message.signatures() {
            match self.check(signature, &text, now) {
                Ok(()) => return Ok(text.replace("\r\n", "\n")),
                Err(error) if error.rank() < worst.rank() => worst = error,
                Err(_) => {}
            }
        }
        Err(worst)
    }

    fn check(&self, signature: &Signature, text: &str, now: u64) -> Result<(), SignatureError> {
        let signer = self
            .signers()
            .find(|signer| signer.issued(signature))
            .ok_or_else(|| SignatureError::UnknownKey(issuer(signature)))?;
        let key = signer.id();
        if !matches!(
            signature.typ(),
            Some(SignatureType::Text | SignatureType::Binary)
        ) || signer.verify(signature, text).is_err()
        {
            return Err(SignatureError::Broken(key));
        }
        if !is_strong(signature) {
            let hash = signature
                .hash_alg()
                .map_or_else(String::new, |hash| hash.to_string());
            return Err(SignatureError::WeakHash { key, hash });
        }
        let Some(created) = created(signature) else {
            return Err(SignatureError::Broken(key));
        };
        if created > now + CLOCK_SKEW {
            let date = date(created);
            return Err(SignatureError::Future { key, date });
        }
        if let Some(end) = end(created, signature.signature_expiration_time())
            && end <= now
        {
            let date = date(end);
            return Err(SignatureError::ExpiredSignature { key, date });
        }
        signer.check_validity(now)
    }

    fn signers(&self) -> impl Iterator<Item = Signer<'_>> {
        self.keys.iter().flat_map(|primary| {
            let subkeys = primary.public_subkeys.iter().map(Some);
            std::iter::once(None)
                .chain(subkeys)
                .map(move |subkey| Signer { primary, subkey })
        })
    }
}

/// A primary key, or one of its subkeys.
struct Signer<'a> {
    primary: &'a SignedPublicKey,
    subkey: Option<&'a SignedPublicSubKey>,
}

impl Signer<'_> {
    fn key(&self) -> &dyn KeyDetails {
        match self.subkey {
            Some(subkey) => &subkey.key,
            None => &self.primary.primary_key,
        }
    }

    fn id(&self) -> String {
        self.key().legacy_key_id().to_string().to_uppercase()
    }

    fn issued(&self, signature: &Signature) -> bool {
        let key = self.key();
        let fingerprints = signature.issuer_fingerprint();
        if fingerprints.is_empty() {
            return signature.issuer_key_id().contains(&&key.legacy_key_id());
        }
        fingerprints.contains(&&key.fingerprint())
    }

    fn verify(&self, signature: &Signature, text: &str) -> pgp::errors::Result<()> {
        match self.subkey {
            Some(subkey) => signature.verify(&subkey.key, text.as_bytes()),
            None => signature.verify(&self.primary.primary_key, text.as_bytes()),
        }
    }

    /// Checks what the self-signatures say about the key.
    fn check_validity(&self, now: u64) -> Result<(), SignatureError> {
        let not_for_signing = || SignatureError::NotForSigning(self.id());
        if self.is_revoked() {
            return Err(SignatureError::Revoked(self.id()));
        }
        let primary = self.self_signature().ok_or_else(not_for_signing)?;
        self.check_age(&self.primary.primary_key, primary, now)?;
        let Some(subkey) = self.subkey else {
            return match primary.key_flags().sign() {
                true => Ok(()),
                false => Err(not_for_signing()),
            };
        };
        let binding = self.binding(subkey).ok_or_else(not_for_signing)?;
        self.check_age(&subkey.key, binding, now)
    }

    fn check_age(
        &self,
        key: &dyn KeyDetails,
        said_by: &Signature,
        now: u64,
    ) -> Result<(), SignatureError> {
        let born = u64::from(key.created_at().as_secs());
        match end(born, said_by.key_expiration_time()) {
            Some(end) if end <= now => Err(SignatureError::ExpiredKey {
                key: self.id(),
                date: date(end),
            }),
            _ => Ok(()),
        }
    }

    fn is_revoked(&self) -> bool {
        let primary = &self.primary.primary_key;
        let subkey_revoked = self.subkey.is_some_and(|subkey| {
            subkey.signatures.iter().any(|signature| {
                signature.typ() == Some(SignatureType::SubkeyRevocation)
                    && signature
                        .verify_subkey_binding(primary, &subkey.key)
                        .is_ok()
            })
        });
        subkey_revoked
            || self
                .primary
                .details
                .revocation_signatures
                .iter()
                .any(|signature| signature.verify_key(primary).is_ok())
    }

    /// The newest valid signature of the primary key on itself or on a name that
    /// says what the key is for. (Debian's keys carry others, made in the same
    /// second, that only name who may revoke them.)
    fn self_signature(&self) -> Option<&Signature> {
        let primary = &self.primary.primary_key;
        let details = &self.primary.details;
        let direct = details
            .direct_signatures
            .iter()
            .filter(|signature| signature.verify_key(primary).is_ok());
        let names = details.users.iter().flat_map(|user| {
            user.signatures.iter().filter(|signature| {
                signature.is_certification()
                    && signature
                        .verify_certification(primary, Tag::UserId, &user.id)
                        .is_ok()
            })
        });
        direct
            .chain(names)
            .filter(|signature| is_strong(signature) && states_flags(signature))
            .max_by_key(|signature| created(signature))
    }

    /// The newest valid signature that binds a signing subkey, which has to
    /// agree to it itself.
    fn binding<'a>(&self, subkey: &'a SignedPublicSubKey) -> Option<&'a Signature> {
        let primary = &self.primary.primary_key;
        subkey
            .signatures
            .iter()
            .filter(|signature| {
                signature.typ() == Some(SignatureType::SubkeyBinding)
                    && is_strong(signature)
                    && signature
                        .verify_subkey_binding(primary, &subkey.key)
                        .is_ok()
            })
            .max_by_key(|signature| created(signature))
            .filter(|signature| {
                signature.key_flags().sign()
                    && signature.embedded_signature().is_some_and(|back| {
                        back.verify_primary_key_binding(&subkey.key, primary)
                            .is_ok()
                    })
            })
    }
}

fn is_strong(signature: &Signature) -> bool {
    matches!(
        signature.hash_alg(),
        Some(
            HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512
        )
    )
}

fn states_flags(signature: &Signature) -> bool {
    signature.config().is_some_and(|config| {
        config
            .hashed_subpackets()
            .any(|subpacket| matches!(subpacket.data, SubpacketData::KeyFlags(_)))
    })
}

fn created(signature: &Signature) -> Option<u64> {
    signature.created().map(|time| u64::from(time.as_secs()))
}

/// When something ends that begins at a time; none and 0 mean never.
fn end(begin: u64, duration: Option<pgp::types::Duration>) -> Option<u64> {
    match duration.map_or(0, |duration| duration.as_secs()) {
        0 => None,
        seconds => Some(begin + u64::from(seconds)),
    }
}

fn issuer(signature: &Signature) -> String {
    let ids = signature
        .issuer_key_id()
        .into_iter()
        .map(|id| id.to_string());
    let fingerprints = signature
        .issuer_fingerprint()
        .into_iter()
        .map(|fingerprint| fingerprint.to_string());
    ids.chain(fingerprints)
        .next()
        .map_or_else(|| "it does not say which".into(), |id| id.to_uppercase())
}

fn date(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .map_or_else(
            || format!("second {seconds} since 1970"),
            |date| date.format("%Y-%m-%d").to_string(),
        )
}

fn malformed(error: pgp::errors::Error) -> SignatureError {
    SignatureError::Malformed(error.to_string())
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
