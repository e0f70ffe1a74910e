//! OCI images: pulled by digest into the cache, and turned into trees.

mod auth;
mod layer;
mod registry;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use oci_client::Reference;
use rubus_service::ImageConfig;

pub use self::{auth::Credentials, registry::Registry};
use crate::{cache::Cache, digest::Digest, tree::Tree};

/// The platform of the boards.
pub const PLATFORM: &str = "linux/arm64";

/// An image whose blobs are in the cache.
#[derive(Clone, Debug)]
pub struct Image {
    /// What it says about running it.
    pub config: ImageConfig,
    name: String,
    layers: Vec<Layer>,
}

#[derive(Clone, Debug)]
struct Layer {
    path: PathBuf,
    sha256: Digest,
    compression: &'static str,
}

impl Image {
    /// The filesystem of the image.
    ///
    /// # Errors
    /// When a layer is not what it should be, or holds what none may.
    pub fn tree(&self, cache: &Cache) -> Result<Tree> {
        let mut tree = Tree::new();
        for layer in &self.layers {
            layer::apply(layer, cache, &mut tree).with_context(|| {
                format!(
                    "cannot unpack the layer sha256:{} of {}",
                    layer.sha256, self.name
                )
            })?;
        }
        Ok(tree)
    }
}

/// Reads `registry/name@sha256:...`.
///
/// # Errors
/// When it is not such a reference.
fn parse_reference(text: &str) -> Result<(Reference, Digest)> {
    let reference: Reference = text
        .parse()
        .with_context(|| format!("{text:?} does not name an image"))?;
    let digest = reference.digest().with_context(|| {
        format!("the image {text:?} is not named by its digest; write NAME@sha256:...")
    })?;
    let digest = parse_digest(digest)?;
    Ok((reference, digest))
}

fn parse_digest(text: &str) -> Result<Digest> {
    let hex = text
        .strip_prefix("sha256:")
        .with_context(|| format!("{text:?} is not a digest with sha256"))?;
    Ok(hex.parse()?)
}

/// How a layer of a media type is compressed.
fn compression(media_type: &str) -> Result<&'static str> {
    let tar = media_type.starts_with("application/vnd.oci.image.layer.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.");
    ensure!(
        tar && !media_type.contains("encrypted"),
        "a layer is of the unknown kind {media_type:?}"
    );
    Ok(if media_type.ends_with("gzip") {
        "gzip"
    } else if media_type.ends_with("zstd") {
        "zstd"
    } else {
        ""
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_by_its_digest() {
        let hex = Digest::of(b"").to_string();
        let (reference, digest) =
            parse_reference(&format!("registry.example:5000/a/b@sha256:{hex}")).unwrap();
        assert_eq!(reference.registry(), "registry.example:5000");
        assert_eq!(reference.repository(), "a/b");
        assert_eq!(digest, Digest::of(b""));
        for bad in [
            "a/b",
            "a/b:latest",
            "a/b@sha256:12",
            "a/b@md5:12",
            "",
            "../x",
        ] {
            assert!(parse_reference(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_layer_says_how_it_is_compressed() {
        for (kind, expected) in [
            ("application/vnd.oci.image.layer.v1.tar", ""),
            ("application/vnd.oci.image.layer.v1.tar+gzip", "gzip"),
            ("application/vnd.oci.image.layer.v1.tar+zstd", "zstd"),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip"),
        ] {
            assert_eq!(compression(kind).unwrap(), expected);
        }
        assert!(compression("application/vnd.wasm").is_err());
        assert!(compression("application/vnd.oci.image.layer.v1.tar+gzip+encrypted").is_err());
    }
}
