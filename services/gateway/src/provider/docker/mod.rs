//! Functions as plain containers of a Docker engine on this node.
//!
//! All state is in the engine: a function is its containers, and the labels of
//! a container hold the deployment that it was made from. A function that is
//! scaled to zero is one container that does not run. So functions come back
//! with the engine, and nothing can disagree with it.

mod container;
mod engine;
mod functions;
mod host;
mod locks;
mod logs;
mod operations;
mod placement;
mod presence;
mod usage;
mod watch;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bollard::{body_try_stream, query_parameters::ImportImageOptionsBuilder};
use futures_util::{StreamExt, TryStreamExt};
use tokio_util::io::ReaderStream;

use self::{
    engine::Engine,
    functions::{Function, Functions},
    locks::Locks,
};
use super::{About, Error, Lines, Provider, Result, Route};
use crate::{
    model::{FunctionDeployment, FunctionId, FunctionStatus, Usage, logs::Query},
    secrets::Secrets,
};

pub use self::host::Allowed;

/// When an image is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pull {
    /// At every deployment; without its registry there is none.
    Always,
    /// When it is not there, or what its tag means changes.
    #[default]
    Missing,
    /// Never: it is there, or the deployment is refused.
    Never,
}

/// What a provider has to be told.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The engine's socket, which need not be there yet.
    pub socket: PathBuf,
    /// The folder of the secrets, which the engine sees under the same name.
    pub secrets: PathBuf,
    /// When an image is fetched.
    pub pull: Pull,
    /// What of the node functions may have.
    pub allowed: Allowed,
}

/// The provider that talks to a Docker engine over its socket.
#[derive(Debug)]
pub struct DockerProvider {
    engine: Engine,
    secrets: Secrets,
    pull: Pull,
    allowed: Allowed,
    locks: Locks,
    /// Counts what may have changed the functions.
    generation: AtomicU64,
    /// Whether the engine tells of changes, so that the listing can be trusted.
    watching: AtomicBool,
    /// Whether containers outlive the engine.
    live_restore: AtomicBool,
    listing: Mutex<Option<Listing>>,
    refresh: tokio::sync::Mutex<()>,
}

/// The functions as they were at a generation.
#[derive(Clone, Debug)]
struct Listing {
    generation: u64,
    functions: Arc<Functions>,
}

impl DockerProvider {
    /// A provider for an engine. It learns of changes while
    /// [`DockerProvider::watch`] runs.
    pub fn new(options: Options) -> Self {
        Self {
            engine: Engine::new(&options.socket),
            secrets: Secrets::new(&options.secrets),
            pull: options.pull,
            allowed: options.allowed,
            locks: Locks::default(),
            generation: AtomicU64::new(0),
            watching: AtomicBool::new(false),
            live_restore: AtomicBool::new(false),
            listing: Mutex::new(None),
            refresh: tokio::sync::Mutex::new(()),
        }
    }

    /// All functions: remembered while the engine tells of every change, asked
    /// for otherwise.
    ///
    /// While the engine is away, what was remembered stands if containers
    /// outlive the engine. If they do not, addresses could come to mean the
    /// containers of other functions when it is back.
    async fn functions(&self) -> Result<Arc<Functions>> {
        if let Some(functions) = self.remembered() {
            return Ok(functions);
        }
        // One listing serves all who wait for it.
        let _guard = self.refresh.lock().await;
        if let Some(functions) = self.remembered() {
            return Ok(functions);
        }
        let generation = self.generation.load(Ordering::Acquire);
        match self.engine.containers(None).await {
            Ok(containers) => {
                let functions = Arc::new(functions::group(containers));
                *self.listing() = Some(Listing {
                    generation,
                    functions: Arc::clone(&functions),
                });
                Ok(functions)
            }
            Err(Error::Unavailable(reason)) if self.live_restore.load(Ordering::Acquire) => self
                .listing()
                .as_ref()
                .map(|listing| Arc::clone(&listing.functions))
                .ok_or(Error::Unavailable(reason)),
            Err(error) => Err(error),
        }
    }

    fn remembered(&self) -> Option<Arc<Functions>> {
        let listing = self.listing();
        let listing = listing.as_ref()?;
        (self.watching.load(Ordering::Acquire)
            && listing.generation == self.generation.load(Ordering::Acquire))
        .then(|| Arc::clone(&listing.functions))
    }

    fn listing(&self) -> std::sync::MutexGuard<'_, Option<Listing>> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the functions may have changed.
    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    async fn function<T>(&self, id: &FunctionId, view: impl FnOnce(&Function) -> T) -> Result<T> {
        let functions = self.functions().await?;
        functions.get(id).map(view).ok_or(Error::NotFound)
    }
}

impl Provider for DockerProvider {
    async fn about(&self) -> About {
        About {
            provider: "rubus".to_owned(),
            orchestration: "docker".to_owned(),
            release: self.engine.version().await.unwrap_or_default(),
        }
    }

    async fn ready(&self) -> Result<()> {
        self.engine.ping().await
    }

    async fn list(&self) -> Result<Vec<FunctionStatus>> {
        Ok(self
            .functions()
            .await?
            .values()
            .map(Function::status)
            .collect())
    }

    async fn status(&self, id: &FunctionId) -> Result<FunctionStatus> {
        self.function(id, Function::status).await
    }

    async fn deploy(
        &self,
        id: &FunctionId,
        deployment: FunctionDeployment,
        replicas: u32,
    ) -> Result<()> {
        let _guard = self.locks.lock(id).await;
        let result = self.create_function(id, deployment, replicas).await;
        self.changed();
        result
    }

    async fn update(&self, id: &FunctionId, deployment: FunctionDeployment) -> Result<()> {
        let _guard = self.locks.lock(id).await;
        let result = self.replace_function(id, deployment).await;
        self.changed();
        result
    }

    async fn delete(&self, id: &FunctionId) -> Result<()> {
        let _guard = self.locks.lock(id).await;
        let result = self.remove_function(id).await;
        self.changed();
        result
    }

    async fn scale(&self, id: &FunctionId, replicas: u32) -> Result<()> {
        let _guard = self.locks.lock(id).await;
        let result = self.scale_function(id, replicas).await;
        self.changed();
        result
    }

    async fn route(&self, id: &FunctionId) -> Result<Route> {
        self.function(id, Function::route).await
    }

    fn distrust(&self, _: &FunctionId) {
        self.changed();
    }

    async fn usage(&self, id: &FunctionId) -> Result<Usage> {
        let running = self.function(id, Function::running).await?;
        usage::measure(&self.engine.client().await?, &running).await
    }

    async fn logs(&self, id: &FunctionId, query: &Query) -> Result<Lines> {
        logs::lines(&self.engine, id, query).await
    }

    async fn secrets(&self, namespace: &str) -> Result<Vec<String>> {
        self.secrets.list(namespace)
    }

    async fn create_secret(&self, namespace: &str, name: &str, value: &[u8]) -> Result<()> {
        self.secrets.create(namespace, name, value)
    }

    async fn replace_secret(&self, namespace: &str, name: &str, value: &[u8]) -> Result<()> {
        self.secrets.replace(namespace, name, value)
    }

    async fn is_secret(&self, namespace: &str, name: &str, value: &[u8]) -> Result<bool> {
        self.secrets.is(namespace, name, value)
    }

    async fn delete_secret(&self, namespace: &str, name: &str) -> Result<()> {
        self.secrets.remove(namespace, name)
    }

    async fn has_image(&self, image: &str) -> Result<bool> {
        self.engine.has_image(image).await
    }

    async fn load_images(&self, archive: &Path) -> Result<()> {
        let wrong = |error: &dyn std::fmt::Display| {
            Error::Failed(format!("cannot load {}: {error}", archive.display()))
        };
        let file = tokio::fs::File::open(archive)
            .await
            .map_err(|error| wrong(&error))?;
        let client = self.engine.client().await?;
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let body = body_try_stream(ReaderStream::with_capacity(file, 64 << 10));
        client
            .import_image(options, body, None)
            .map(|answer| answer.map(drop))
            .try_collect::<()>()
            .await
            .map_err(|error| match self.engine.error(error) {
                Error::Unavailable(reason) => Error::Unavailable(reason),
                error => wrong(&error),
            })
    }
}
