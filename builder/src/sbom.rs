//! The bill of materials: SPDX 2.3 in JSON.

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Where a part comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A package of Debian, for an architecture such as `arm64` or `all`.
    Debian {
        /// The architecture of the package.
        architecture: String,
    },
    /// An image of a registry, by name.
    Oci,
    /// A crate of Rubus itself.
    Rubus,
    /// A program in a folder that was laid over a root, by its path there.
    File,
}

/// A part of the image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version; for an image of a registry the digest, for a file that of
    /// the service.
    pub version: String,
    /// Where it comes from.
    pub origin: Origin,
    /// SHA-256 of the archive that it came in, in hexadecimal.
    pub sha256: Option<String>,
    /// License expression in the terms of SPDX, where it is known.
    pub license: Option<String>,
}

/// A service and the parts that it holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its parts, as indexes into [`Bill::components`].
    pub components: Vec<usize>,
}

/// What the document is made from.
#[derive(Clone, Debug)]
pub struct Bill<'a> {
    /// Name of the image, such as `rubus-rpi4`.
    pub image: &'a str,
    /// Version of Rubus.
    pub version: &'a str,
    /// Identifies the content.
    pub build_id: &'a str,
    /// Seconds since 1970 of the newest source.
    pub timestamp: i64,
    /// All parts; each once.
    pub components: &'a [Component],
    /// Parts of the system itself, as indexes into `components`.
    pub system: &'a [usize],
    /// The services.
    pub services: &'a [Service],
}

const IMAGE_ID: &str = "SPDXRef-Image";

impl Bill<'_> {
    /// The document, the same for the same bill.
    ///
    /// # Errors
    /// When the time is out of range, or an index is.
    pub fn to_json(&self) -> Result<String> {
        let created = DateTime::from_timestamp(self.timestamp, 0)
            .with_context(|| format!("{} is no time", self.timestamp))?
            .to_rfc3339_opts(SecondsFormat::Secs, true);
        let mut image = element(IMAGE_ID, self.image, self.version);
        image["primaryPackagePurpose"] = "OPERATING-SYSTEM".into();
        let mut packages = vec![image];
        let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE_ID)];
        packages.extend(self.components.iter().map(package));
        for index in self.system {
            relationships.push(relationship(IMAGE_ID, "CONTAINS", &self.id(*index)?));
        }
        for service in self.services {
            let id = format!("SPDXRef-Service-{}", identifier(&service.name));
            let mut container = element(&id, &service.name, self.version);
            container["primaryPackagePurpose"] = "CONTAINER".into();
            packages.push(container);
            relationships.push(relationship(IMAGE_ID, "CONTAINS", &id));
            for index in &service.components {
                relationships.push(relationship(&id, "CONTAINS", &self.id(*index)?));
            }
        }
        let document = json!({
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": format!("{} {}", self.image, self.version),
            "documentNamespace": self.namespace(),
            "creationInfo": {
                "created": created,
                "creators": [format!("Tool: rubus-{}", self.version)],
            },
            "packages": packages,
            "relationships": relationships,
        });
        let mut text = serde_json::to_string_pretty(&document)?;
        text.push('\n');
        Ok(text)
    }

    /// A URI that no other document has: SPDX wants one, and a name of ours
    /// that stands for no server is what RFC 4122 is for.
    fn namespace(&self) -> String {
        let digest = Sha256::digest(format!("{} {} {}", self.image, self.version, self.build_id));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        format!(
            "urn:uuid:{}",
            uuid::Builder::from_custom_bytes(bytes).into_uuid()
        )
    }

    fn id(&self, index: usize) -> Result<String> {
        let component = self
            .components
            .get(index)
            .with_context(|| format!("the bill of materials has no component {index}"))?;
        Ok(component_id(component))
    }
}

fn component_id(component: &Component) -> String {
    let kind = match &component.origin {
        Origin::Debian { architecture } => format!("deb-{architecture}"),
        Origin::Oci => "oci".to_owned(),
        Origin::Rubus => "rubus".to_owned(),
        // Two engines may have one path.
        Origin::File => format!("file-{}", component.sha256.as_deref().unwrap_or_default()),
    };
    let (name, version) = (identifier(&component.name), identifier(&component.version));
    format!("SPDXRef-{kind}-{name}-{version}")
}

/// Letters, digits, dots and dashes stay, as SPDX asks for; the rest becomes
/// `-` and its code.
fn identifier(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => char::from(byte).to_string(),
            _ => format!("-{byte:02x}"),
        })
        .collect()
}

/// Percent-encoding of the parts of a package URL.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn package(component: &Component) -> Value {
    let (name, version) = (&component.name, &component.version);
    let (supplier, purl) = match &component.origin {
        Origin::Debian { architecture } => (
            "Organization: Debian",
            Some(format!(
                "pkg:deb/debian/{}@{}?arch={}",
                encode(name),
                encode(version),
                encode(architecture)
            )),
        ),
        Origin::Oci => {
            let short = name.rsplit('/').next().unwrap_or(name);
            let purl = format!(
                "pkg:oci/{}@{}?repository_url={}",
                encode(short),
                encode(version),
                encode(name)
            );
            ("NOASSERTION", Some(purl))
        }
        Origin::Rubus => (
            "Organization: Rubus",
            Some(format!("pkg:cargo/{}@{}", encode(name), encode(version))),
        ),
        Origin::File => ("NOASSERTION", None),
    };
    let mut value = element(&component_id(component), name, version);
    if component.origin == Origin::File {
        value["primaryPackagePurpose"] = "FILE".into();
    }
    value["supplier"] = supplier.into();
    if let Some(license) = &component.license {
        value["licenseDeclared"] = license.as_str().into();
    }
    if let Some(purl) = purl {
        value["externalRefs"] = json!([{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl,
        }]);
    }
    if let Some(sha256) = &component.sha256 {
        value["checksums"] = json!([{ "algorithm": "SHA256", "checksumValue": sha256 }]);
    }
    value
}

/// A package of which nothing is known but its name and, if any, its version.
fn element(id: &str, name: &str, version: &str) -> Value {
    let mut value = json!({
        "SPDXID": id,
        "name": name,
        "supplier": "NOASSERTION",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
    });
    if !version.is_empty() {
        value["versionInfo"] = version.into();
    }
    value
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({
        "spdxElementId": from,
        "relationshipType": kind,
        "relatedSpdxElement": to,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn document() -> String {
        let components = [
            Component {
                name: "libstdc++6".into(),
                version: "14.2.0-19".into(),
                origin: Origin::Debian {
                    architecture: "arm64".into(),
                },
                sha256: Some("ab".repeat(32)),
                license: None,
            },
            Component {
                name: "docker.io".into(),
                version: "26.1.5+dfsg1-9".into(),
                origin: Origin::Debian {
                    architecture: "arm64".into(),
                },
                sha256: Some("cd".repeat(32)),
                license: None,
            },
            Component {
                name: "system-runtime".into(),
                version: "0.1.0".into(),
                origin: Origin::Rubus,
                sha256: None,
                license: Some("Apache-2.0 OR MIT".into()),
            },
            Component {
                name: "usr/bin/dockerd".into(),
                version: String::new(),
                origin: Origin::File,
                sha256: Some("ef".repeat(32)),
                license: None,
            },
            Component {
                name: "usr/bin/dockerd".into(),
                version: String::new(),
                origin: Origin::File,
                sha256: Some("01".repeat(32)),
                license: None,
            },
        ];
        let services = [Service {
            name: "docker".into(),
            components: vec![0, 1, 3, 4],
        }];
        Bill {
            image: "rubus-rpi4",
            version: "0.1.0",
            build_id: "abc",
            timestamp: 1_700_000_000,
            components: &components,
            system: &[2],
            services: &services,
        }
        .to_json()
        .unwrap()
    }

    #[test]
    fn the_document_has_what_spdx_asks_for() {
        let text = document();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["spdxVersion"], "SPDX-2.3");
        assert_eq!(value["dataLicense"], "CC0-1.0");
        assert_eq!(value["SPDXID"], "SPDXRef-DOCUMENT");
        assert_eq!(value["creationInfo"]["created"], "2023-11-14T22:13:20Z");
        let namespace = value["documentNamespace"].as_str().unwrap();
        assert!(namespace.starts_with("urn:uuid:") && !namespace.contains('#'));
        for package in value["packages"].as_array().unwrap() {
            for key in ["SPDXID", "name", "downloadLocation"] {
                assert!(package[key].is_string(), "{package}");
            }
        }
        assert_eq!(text, document());
    }

    #[test]
    fn a_package_has_its_url_and_hash() {
        let value: Value = serde_json::from_str(&document()).unwrap();
        let package = &value["packages"][1];
        assert_eq!(package["supplier"], "Organization: Debian");
        assert_eq!(
            package["externalRefs"][0]["referenceLocator"],
            "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=arm64"
        );
        assert_eq!(package["checksums"][0]["checksumValue"], "ab".repeat(32));
    }

    #[test]
    fn every_relationship_is_between_elements_that_exist_and_names_are_valid() {
        let value: Value = serde_json::from_str(&document()).unwrap();
        let mut ids = BTreeSet::from(["SPDXRef-DOCUMENT"]);
        for package in value["packages"].as_array().unwrap() {
            let id = package["SPDXID"].as_str().unwrap();
            let name = id.strip_prefix("SPDXRef-").unwrap();
            assert!(
                name.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-'),
                "{id}"
            );
            assert!(ids.insert(id), "{id} is there twice");
        }
        let relationships = value["relationships"].as_array().unwrap();
        for relationship in relationships {
            for key in ["spdxElementId", "relatedSpdxElement"] {
                assert!(
                    ids.contains(relationship[key].as_str().unwrap()),
                    "{relationship}"
                );
            }
        }
        let contained = relationships
            .iter()
            .filter(|r| r["spdxElementId"] == "SPDXRef-Service-docker");
        assert_eq!(contained.count(), 4);
    }
}
