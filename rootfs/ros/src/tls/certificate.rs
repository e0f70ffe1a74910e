//! An authority of the node's own, and the certificates that it signs.
//!
//! X.509 as in RFC 5280, with keys on the curve P-256, which every TLS library
//! takes. Nothing here touches a file.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use p256::ecdsa::{DerSignature, SigningKey};
use p256::elliptic_curve::rand_core::{OsRng, RngCore};
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use x509_cert::Certificate;
use x509_cert::builder::{Builder, CertificateBuilder, Profile};
use x509_cert::der::asn1::{Ia5String, OctetString};
use x509_cert::der::oid::db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH};
use x509_cert::der::{DecodePem, EncodePem};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::{Time, Validity};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Certificates are good from before they were made: a Pi has no clock, and
/// that of a client may be behind.
const BEFORE: Duration = DAY;

/// What signs.
#[derive(Debug)]
pub(crate) struct Authority {
    key: SigningKey,
    certificate: Certificate,
}

/// A certificate and its key, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Answering under these names and addresses.
    Server(Vec<Host>),
    /// Asking.
    Client,
}

/// What a server is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    Name(String),
    Address(IpAddr),
}

impl Authority {
    /// A new one, for `days` from `now`.
    pub(crate) fn new(name: &str, now: SystemTime, days: u32) -> Result<Self> {
        let key = SigningKey::random(&mut OsRng);
        let subject = common_name(name)?;
        let public = SubjectPublicKeyInfoOwned::from_key(*key.verifying_key())?;
        let builder = CertificateBuilder::new(
            Profile::Root,
            serial()?,
            validity(now, days)?,
            subject,
            public,
            &key,
        )?;
        let certificate = builder.build::<DerSignature>()?;
        Ok(Self { key, certificate })
    }

    /// Reads one from what [`Authority::to_pem`] gave.
    pub(crate) fn from_pem(text: &str) -> Result<Self> {
        let block = |label: &str| -> Result<&str> {
            let (begin, end) = (
                format!("-----BEGIN {label}-----"),
                format!("-----END {label}-----"),
            );
            let from = text.find(&begin);
            let to = text.find(&end).map(|at| at + end.len());
            from.zip(to)
                .and_then(|(from, to)| text.get(from..to))
                .with_context(|| format!("it has no block {label}"))
        };
        let key = SigningKey::from_pkcs8_pem(block("PRIVATE KEY")?)
            .map_err(|error| anyhow::anyhow!("its key cannot be read: {error}"))?;
        let certificate = Certificate::from_pem(block("CERTIFICATE")?)
            .context("its certificate cannot be read")?;
        let own = SubjectPublicKeyInfoOwned::from_key(*key.verifying_key())?;
        let same = own == certificate.tbs_certificate.subject_public_key_info;
        anyhow::ensure!(same, "its key is not that of its certificate");
        Ok(Self { key, certificate })
    }

    /// The certificate and the key, one after the other: written at once, they
    /// always belong together.
    pub(crate) fn to_pem(&self) -> Result<String> {
        Ok(self.certificate_pem()? + &key_pem(&self.key)?)
    }

    /// The certificate, which is no secret.
    pub(crate) fn certificate_pem(&self) -> Result<String> {
        Ok(self.certificate.to_pem(LineEnding::LF)?)
    }

    /// When it ends.
    pub(crate) fn ends(&self) -> SystemTime {
        self.certificate
            .tbs_certificate
            .validity
            .not_after
            .to_system_time()
    }

    /// Signs a certificate with a key of its own. It does not outlive what it
    /// is signed with.
    pub(crate) fn sign(&self, name: &str, what: &Use, now: SystemTime, days: u32) -> Result<Pair> {
        let key = SigningKey::random(&mut OsRng);
        let public = SubjectPublicKeyInfoOwned::from_key(*key.verifying_key())?;
        let mut validity = validity(now, days)?;
        if self.ends() < validity.not_after.to_system_time() {
            validity.not_after = self.certificate.tbs_certificate.validity.not_after;
        }
        let profile = Profile::Leaf {
            issuer: self.certificate.tbs_certificate.subject.clone(),
            enable_key_agreement: false,
            enable_key_encipherment: false,
        };
        let mut builder = CertificateBuilder::new(
            profile,
            serial()?,
            validity,
            common_name(name)?,
            public,
            &self.key,
        )?;
        let usage = match what {
            Use::Server(hosts) => {
                let names: Result<_> = hosts.iter().map(Host::general_name).collect();
                builder.add_extension(&SubjectAltName(names?))?;
                ID_KP_SERVER_AUTH
            }
            Use::Client => ID_KP_CLIENT_AUTH,
        };
        builder.add_extension(&ExtendedKeyUsage(vec![usage]))?;
        let certificate = builder.build::<DerSignature>()?;
        Ok(Pair {
            certificate: certificate.to_pem(LineEnding::LF)?,
            key: key_pem(&key)?,
        })
    }
}

impl Host {
    /// An address where it is one, a name otherwise.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let label = |label: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(plain)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // Nodes behind one name: *.example.
        let rest = text.strip_prefix("*.").unwrap_or(text);
        if text.len() <= 253 && rest.split('.').all(label) {
            Ok(Self::Name(text.to_ascii_lowercase()))
        } else {
            Err(format!("\"{text}\" is neither a host name nor an address"))
        }
    }

    fn general_name(&self) -> Result<GeneralName> {
        Ok(match self {
            Self::Name(name) => GeneralName::DnsName(Ia5String::new(name)?),
            Self::Address(IpAddr::V4(address)) => {
                GeneralName::IpAddress(OctetString::new(address.octets())?)
            }
            Self::Address(IpAddr::V6(address)) => {
                GeneralName::IpAddress(OctetString::new(address.octets())?)
            }
        })
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

fn common_name(name: &str) -> Result<Name> {
    // The characters that RFC 4514 gives a meaning of their own.
    let mut text = String::from("CN=");
    for c in name.chars().take(64) {
        if ",+\"\\<>;=#".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    let name = text.parse();
    name.with_context(|| format!("\"{text}\" cannot name a certificate"))
}

/// A number that no other certificate has: 127 random bits, of which the first
/// is not zero, so that it has the same length always.
fn serial() -> Result<SerialNumber> {
    let mut bytes = [0; 16];
    OsRng.fill_bytes(&mut bytes);
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::new(&bytes)?)
}

fn validity(now: SystemTime, days: u32) -> Result<Validity> {
    // Certificates know whole seconds only.
    let now = Duration::from_secs(now.duration_since(UNIX_EPOCH)?.as_secs());
    let at = |time: Duration| -> Result<Time> {
        let time = Time::try_from(UNIX_EPOCH + time);
        time.context("the node's clock is far off; `ros logs ntp` may say why")
    };
    Ok(Validity {
        not_before: at(now.saturating_sub(BEFORE))?,
        not_after: at(now + DAY * days)?,
    })
}

fn key_pem(key: &SigningKey) -> Result<String> {
    let pem = key.to_pkcs8_pem(LineEnding::LF);
    let pem = pem.map_err(|error| anyhow::anyhow!("the key cannot be written: {error}"))?;
    Ok(pem.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;

    fn hosts(names: &[&str]) -> Use {
        Use::Server(names.iter().map(|it| Host::parse(it).unwrap()).collect())
    }

    #[test]
    fn an_authority_reads_back_and_goes_on_signing() {
        let made = Authority::new("node1", NOW, 10).unwrap();
        let text = made.to_pem().unwrap();
        let read = Authority::from_pem(&text).unwrap();
        assert_eq!(read.to_pem().unwrap(), text);
        assert_eq!(read.ends(), NOW + DAY * 10);
        assert!(read.sign("a", &Use::Client, NOW, 5).is_ok());
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        let (one, two) = (
            Authority::new("a", NOW, 1).unwrap(),
            Authority::new("a", NOW, 1).unwrap(),
        );
        let mixed = one.certificate_pem().unwrap() + &key_pem(&two.key).unwrap();
        let whole = one.to_pem().unwrap();
        for text in [
            "",
            "-----BEGIN PRIVATE KEY-----",
            &whole[..whole.len() / 2],
            &mixed,
        ] {
            assert!(Authority::from_pem(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_certificate_does_not_outlive_its_authority() {
        let authority = Authority::new("a", NOW, 10).unwrap();
        let pair = authority.sign("b", &hosts(&["b"]), NOW, 20).unwrap();
        let certificate = Certificate::from_pem(&pair.certificate).unwrap();
        let ends = certificate.tbs_certificate.validity.not_after;
        assert_eq!(ends.to_system_time(), authority.ends());
    }

    #[test]
    fn names_and_addresses_are_told_apart() {
        for (text, address) in [
            ("192.168.1.5", true),
            ("fd00::5", true),
            ("Node1.local", false),
            ("*.example.org", false),
        ] {
            let host = Host::parse(text).unwrap();
            assert_eq!(matches!(host, Host::Address(_)), address, "{text}");
        }
        assert_eq!(Host::parse("Node1").unwrap(), Host::Name("node1".into()));
        for text in ["", "a b", "-a", "a..b", "a_b", "192.168.1.5/24", "a,CN=b"] {
            assert!(Host::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn any_name_can_stand_in_a_certificate() {
        for name in ["a", "a=b, c", "#1", "Büro"] {
            assert!(Authority::new(name, NOW, 1).is_ok(), "{name}");
        }
    }
}
