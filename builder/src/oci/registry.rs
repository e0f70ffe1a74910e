//! Registries.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures_util::StreamExt;
use oci_client::{
    Reference, RegistryOperation,
    client::{Certificate, CertificateEncoding, Client, ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
    manifest::{
        IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
        OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest, OciManifest,
    },
};
use rubus_service::ImageConfig;
use serde::Deserialize;
use tokio::runtime::Runtime;

use super::{Credentials, Image, Layer, PLATFORM, compression, parse_digest, parse_reference};
use crate::{
    cache::{Cache, Claim, Partial},
    digest::Digest,
    fetch::{self, Progress},
    lock::LockedImage,
};

/// No manifest, index or configuration is nearly as long as this.
const MAX_DOCUMENT: u64 = 4 << 20;
/// No layer may be longer.
const MAX_LAYER: u64 = 4 << 30;
const MAX_LAYERS: usize = 256;
/// A registry that takes longer for a manifest is given up.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a blob is tried, and the pause after the first time.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

const MANIFESTS: &[&str] = &[
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
];

/// Pulls images into the cache.
#[derive(Debug)]
pub struct Registry<'a> {
    cache: &'a Cache,
    credentials: Credentials,
    offline: bool,
}

/// The configuration of an image; the part that says how to run it is inside.
#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    config: Option<ImageConfig>,
}

impl<'a> Registry<'a> {
    /// Uses the given logins, or (`offline`) only the cache.
    pub fn new(cache: &'a Cache, credentials: Credentials, offline: bool) -> Self {
        Self {
            cache,
            credentials,
            offline,
        }
    }

    /// Looks up the manifests of an image, for the lock.
    ///
    /// # Errors
    /// When the reference is not one by digest, the image cannot be had, or it
    /// is not there for the boards' platform.
    pub fn lock(&self, reference: &str) -> Result<LockedImage> {
        let (name, sha256) = parse_reference(reference)?;
        let session = self.session(&name)?;
        let locking = || format!("cannot lock the image {reference}");
        let platforms = match session.manifest(&sha256).with_context(locking)? {
            OciManifest::Image(manifest) => {
                let config = session.config(&manifest, &()).with_context(locking)?;
                BTreeMap::from([(format!("{}/{}", config.os, config.architecture), sha256)])
            }
            OciManifest::ImageIndex(index) => {
                let mut platforms = BTreeMap::new();
                for entry in index.manifests {
                    // Attestations are listed as images for an unknown platform.
                    if let Some(platform) = entry.platform {
                        let platform = format!("{}/{}", platform.os, platform.architecture);
                        let digest = parse_digest(&entry.digest).with_context(locking)?;
                        platforms.entry(platform).or_insert(digest);
                    }
                }
                platforms.remove("unknown/unknown");
                platforms
            }
        };
        ensure!(
            platforms.contains_key(PLATFORM),
            "the image {reference} is not there for {PLATFORM}, only for {}",
            platforms.into_keys().collect::<Vec<_>>().join(", ")
        );
        Ok(LockedImage {
            reference: reference.to_owned(),
            sha256,
            platforms,
        })
    }

    /// Makes sure that an image is in the cache.
    ///
    /// # Errors
    /// When it cannot be had, or a blob is not what its digest says.
    pub fn pull(&self, image: &LockedImage, progress: &dyn Progress) -> Result<Image> {
        let (name, _) = parse_reference(&image.reference)?;
        let session = self.session(&name)?;
        let digest = image.platforms.get(PLATFORM).with_context(|| {
            format!("the image {} is not there for {PLATFORM}", image.reference)
        })?;
        session
            .pull(digest, progress)
            .with_context(|| format!("cannot pull the image {}", image.reference))
    }

    fn session(&self, reference: &Reference) -> Result<Session<'_>> {
        Ok(Session {
            registry: self,
            reference: reference.clone(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            client: std::cell::OnceCell::new(),
        })
    }
}

/// One image of one registry. The connection is made when it is first needed.
struct Session<'a> {
    registry: &'a Registry<'a>,
    reference: Reference,
    runtime: Runtime,
    client: std::cell::OnceCell<Client>,
}

impl Session<'_> {
    fn pull(&self, digest: &Digest, progress: &dyn Progress) -> Result<Image> {
        let OciManifest::Image(manifest) = self.manifest(digest)? else {
            bail!("sha256:{digest} is an index, where a manifest is expected");
        };
        let config = self.config(&manifest, progress)?;
        ensure!(
            format!("{}/{}", config.os, config.architecture) == PLATFORM,
            "it is for {}/{}, not for {PLATFORM}",
            config.os,
            config.architecture
        );
        ensure!(
            manifest.layers.len() <= MAX_LAYERS,
            "it has {} layers",
            manifest.layers.len()
        );
        let sizes = manifest
            .layers
            .iter()
            .map(|layer| size(layer, MAX_LAYER))
            .collect::<Result<Vec<_>>>()?;
        progress.start(sizes.len(), sizes.iter().sum());
        let layers = manifest
            .layers
            .iter()
            .zip(sizes)
            .map(|(layer, size)| {
                let sha256 = parse_digest(&layer.digest)?;
                Ok(Layer {
                    path: self.blob(sha256, size, progress)?,
                    sha256,
                    compression: compression(&layer.media_type)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Image {
            config: config.config.unwrap_or_default(),
            name: self.reference.whole(),
            layers,
        })
    }

    /// An index or a manifest, from the cache if it is there.
    fn manifest(&self, digest: &Digest) -> Result<OciManifest> {
        let bytes = match self.registry.cache.read(digest, MAX_DOCUMENT) {
            Some(bytes) => bytes,
            None => self.download_manifest(digest)?,
        };
        serde_json::from_slice(&bytes)
            .with_context(|| format!("sha256:{digest} is not a manifest of an image"))
    }

    fn download_manifest(&self, digest: &Digest) -> Result<Vec<u8>> {
        let client = self.client(digest)?;
        let reference = self.reference.clone_with_digest(format!("sha256:{digest}"));
        let auth = self.auth();
        let pull = async {
            tokio::time::timeout(
                MANIFEST_TIMEOUT,
                client.pull_manifest_raw(&reference, &auth, MANIFESTS),
            )
            .await
        };
        let (bytes, _) = self
            .runtime
            .block_on(pull)
            .map_err(|_| anyhow!("the registry does not answer"))?
            .map_err(|error| self.explain(error))?;
        ensure!(
            bytes.len() as u64 <= MAX_DOCUMENT,
            "the manifest is {} bytes long",
            bytes.len()
        );
        ensure!(
            Digest::of(&bytes) == *digest,
            "the registry sent another manifest than sha256:{digest}"
        );
        self.registry.cache.store(&bytes)?;
        Ok(bytes.to_vec())
    }

    fn config(&self, manifest: &OciImageManifest, progress: &dyn Progress) -> Result<ConfigFile> {
        let size = size(&manifest.config, MAX_DOCUMENT)?;
        let digest = parse_digest(&manifest.config.digest)?;
        let path = self.blob(digest, size, progress)?;
        let bytes =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&bytes).context("the image's configuration cannot be understood")
    }

    fn blob(&self, digest: Digest, size: u64, progress: &dyn Progress) -> Result<PathBuf> {
        let name = format!("sha256:{digest}");
        if self.registry.offline && self.registry.cache.find(&digest, size).is_none() {
            self.client(&digest)?;
        }
        progress.begin(&name);
        let path = match self.registry.cache.claim(digest, size)? {
            Claim::Complete(path) => {
                progress.advance(size as i64);
                path
            }
            Claim::Partial(partial) => self.download_blob(partial, &name, progress)?,
        };
        progress.done(&name);
        Ok(path)
    }

    fn download_blob(
        &self,
        mut partial: Partial,
        name: &str,
        progress: &dyn Progress,
    ) -> Result<PathBuf> {
        progress.advance(partial.len() as i64);
        let mut failure = None;
        let mut pause = PAUSE;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(pause);
                pause *= 2;
            }
            let resumed = !partial.is_empty();
            if let Err(error) = self
                .runtime
                .block_on(self.read_blob(&mut partial, name, progress))
            {
                let is_final = error
                    .downcast_ref::<OciDistributionError>()
                    .is_some_and(refuses);
                failure = Some(error);
                if is_final {
                    break;
                }
                continue;
            }
            let size = partial.len() as i64;
            match partial.finish()? {
                Ok(path) => return Ok(path),
                Err(emptied) => {
                    partial = emptied;
                    progress.advance(-size);
                    failure = Some(anyhow!("the registry sent other bytes than {name}"));
                    // What was there before may be to blame.
                    if !resumed {
                        break;
                    }
                }
            }
        }
        Err(failure.unwrap_or_else(|| anyhow!("there was no attempt")))
            .with_context(|| format!("cannot download the blob {name}"))
    }

    /// Reads what is missing of a blob, until the end or until it breaks off.
    async fn read_blob(
        &self,
        partial: &mut Partial,
        name: &str,
        progress: &dyn Progress,
    ) -> Result<()> {
        if partial.is_full() {
            return Ok(());
        }
        let client = self.client(&parse_digest(name)?)?;
        let auth = self.auth();
        client
            .store_auth_if_needed(self.reference.resolve_registry(), &auth)
            .await;
        let (mut stream, from) = if partial.is_empty() {
            let stream = client.pull_blob_stream(&self.reference, name).await?;
            (stream, 0)
        } else {
            use oci_client::client::BlobResponse;
            let offset = partial.len();
            match client
                .pull_blob_stream_partial(&self.reference, name, offset, None)
                .await?
            {
                BlobResponse::Full(stream) => (stream, 0),
                BlobResponse::Partial(stream) => (stream, offset),
            }
        };
        if from != partial.len() {
            progress.advance(-(partial.len() as i64));
            partial.restart()?;
        }
        // The last byte is the end: whether it is the right blob is for the cache
        // to say.
        while !partial.is_full()
            && let Some(bytes) = stream.next().await
        {
            let bytes = bytes?;
            partial.append(&bytes)?;
            progress.advance(bytes.len() as i64);
        }
        ensure!(partial.is_full(), "the connection broke off");
        Ok(())
    }

    /// The connection. `wanted` is what it is for.
    fn client(&self, wanted: &Digest) -> Result<&Client> {
        ensure!(
            !self.registry.offline,
            "sha256:{wanted} is not in the cache; build once without `--offline`"
        );
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = connect(self.reference.resolve_registry())?;
        let auth = self.auth();
        self.runtime
            .block_on(client.auth(&self.reference, &auth, RegistryOperation::Pull))
            .map_err(|error| self.explain(error))?;
        Ok(self.client.get_or_init(|| client))
    }

    fn auth(&self) -> oci_client::secrets::RegistryAuth {
        self.registry
            .credentials
            .for_registry(self.reference.registry())
    }

    /// What a person can do about a registry's refusal.
    fn explain(&self, error: OciDistributionError) -> anyhow::Error {
        let registry = self.reference.registry();
        if is_unauthorized(&error) {
            anyhow!("{registry} asks for a login; log in with `docker login {registry}`")
        } else {
            anyhow::Error::from(error).context(format!("{registry} does not give it"))
        }
    }
}

fn connect(registry: &str) -> Result<Client> {
    fetch::install_tls_provider();
    let config = || ClientConfig {
        protocol: if is_local(registry) {
            ClientProtocol::HttpsExcept(vec![registry.to_owned()])
        } else {
            ClientProtocol::Https
        },
        read_timeout: Some(fetch::READ_TIMEOUT),
        connect_timeout: Some(fetch::CONNECT_TIMEOUT),
        user_agent: fetch::USER_AGENT,
        platform_resolver: None,
        ..ClientConfig::default()
    };
    if let Ok(client) = Client::try_from(config()) {
        return Ok(client);
    }
    // A host without certificates of its own.
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .map(|der| Certificate {
            encoding: CertificateEncoding::Der,
            data: der.to_vec(),
        });
    Client::try_from(ClientConfig {
        tls_certs_only: roots.collect(),
        ..config()
    })
    .context("cannot set up HTTP")
}

/// Registries on this host speak plain HTTP, as for every other tool.
fn is_local(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => registry.split(':').next().unwrap_or(registry),
    };
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Whether trying again is pointless.
fn refuses(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::ServerError { code, .. } => (400..500).contains(code) && *code != 429,
        OciDistributionError::RegistryError { .. } => true,
        error => is_unauthorized(error),
    }
}

fn is_unauthorized(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::UnauthorizedError { .. }
        | OciDistributionError::AuthenticationFailure(_) => true,
        OciDistributionError::RegistryError { envelope, .. } => {
            envelope.errors.iter().any(|error| {
                matches!(
                    error.code,
                    OciErrorCode::Unauthorized | OciErrorCode::Denied
                )
            })
        }
        _ => false,
    }
}

fn size(descriptor: &OciDescriptor, limit: u64) -> Result<u64> {
    u64::try_from(descriptor.size)
        .ok()
        .filter(|size| *size <= limit)
        .with_context(|| {
            format!(
                "{} claims to be {} bytes long",
                descriptor.digest, descriptor.size
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registries_on_this_host_are_spoken_to_in_plain_http() {
        for (registry, local) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("localhost.example:5000", false),
            ("127.0.0.1.example", false),
            ("registry.example", false),
            ("[2001:db8::1]:5000", false),
        ] {
            assert_eq!(is_local(registry), local, "{registry}");
        }
    }
}
