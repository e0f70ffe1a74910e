//! The connection to the engine, which comes and goes.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    auth::DockerCredentials,
    errors::Error as DockerError,
    models::{ContainerCreateBody, ContainerSummary, NetworkCreateRequest, SystemInfo},
    query_parameters::{
        CreateContainerOptionsBuilder, CreateImageOptionsBuilder, ListContainersOptionsBuilder,
        ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
    },
};
use futures_util::TryStreamExt;

use super::container::{self, FUNCTION_LABEL};
use crate::{
    model::FunctionId,
    provider::{Error, Result},
};

/// Seconds after which the engine counts as not answering: until the head of
/// its answer is there, so that a pull may go on for longer.
const TIMEOUT: u64 = 120;
/// Seconds between SIGTERM and SIGKILL. Watchdogs drain for as long as their
/// `healthcheck_interval`, most of it with nothing to do.
const STOP_SECONDS: i32 = 2;
/// The network of the functions, where the node has none with the label.
const NETWORK: &str = "openfaas";
/// Marks the network of the functions.
const NETWORK_LABEL: &str = "openfaas";

/// The engine at a socket. Clones share the connection.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    socket: PathBuf,
    client: Arc<Mutex<Option<Docker>>>,
}

impl Engine {
    pub(super) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            client: Arc::default(),
        }
    }

    /// Where it is.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// A client that speaks the version of the engine that is there now.
    pub(super) async fn client(&self) -> Result<Docker> {
        if let Some(client) = self.slot().as_ref() {
            return Ok(client.clone());
        }
        let path = self.socket.to_string_lossy();
        let client = Docker::connect_with_unix(&path, TIMEOUT, API_DEFAULT_VERSION)
            .map_err(|error| self.error(error))?
            .negotiate_version()
            .await
            .map_err(|error| self.error(error))?;
        *self.slot() = Some(client.clone());
        Ok(client)
    }

    /// Connects anew next time: another engine may be there by then.
    pub(super) fn forget(&self) {
        *self.slot() = None;
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Docker>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an error of the client means. One that says that the engine is not
    /// there, or another one, also ends the connection.
    pub(super) fn error(&self, error: DockerError) -> Error {
        match error {
            DockerError::DockerResponseServerError {
                status_code: 400,
                message,
            } if message.contains("client version") => {
                self.forget();
                Error::Unavailable(format!("the container engine was replaced: {message}"))
            }
            DockerError::DockerResponseServerError {
                status_code: 400 | 404 | 409,
                message,
            } => Error::Invalid(message),
            DockerError::DockerResponseServerError { message, .. } => Error::Failed(message),
            DockerError::DockerStreamError { error } => Error::Invalid(error),
            error => {
                self.forget();
                Error::Unavailable(format!(
                    "the container engine does not answer on {}: {error}",
                    self.socket.display()
                ))
            }
        }
    }

    pub(super) async fn ping(&self) -> Result<()> {
        let client = self.client().await?;
        client
            .ping()
            .await
            .map(drop)
            .map_err(|error| self.error(error))
    }

    pub(super) async fn version(&self) -> Result<String> {
        let client = self.client().await?;
        let version = client.version().await.map_err(|error| self.error(error))?;
        Ok(version.version.unwrap_or_default())
    }

    pub(super) async fn info(&self) -> Result<SystemInfo> {
        let client = self.client().await?;
        client.info().await.map_err(|error| self.error(error))
    }

    /// The containers of all functions, or of one.
    pub(super) async fn containers(
        &self,
        id: Option<&FunctionId>,
    ) -> Result<Vec<ContainerSummary>> {
        let client = self.client().await?;
        let labels = match id {
            None => vec![FUNCTION_LABEL.to_owned()],
            Some(id) => container::selector(id),
        };
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&HashMap::from([("label", labels)]))
            .build();
        client
            .list_containers(Some(options))
            .await
            .map_err(|error| self.error(error))
    }

    pub(super) async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<String> {
        let client = self.client().await?;
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let made = client
            .create_container(Some(options), body)
            .await
            .map_err(|error| self.error(error))?;
        Ok(made.id)
    }

    pub(super) async fn start(&self, container: &str) -> Result<()> {
        let client = self.client().await?;
        client
            .start_container(container, None)
            .await
            .map_err(|error| self.error(error))
    }

    pub(super) async fn stop(&self, container: &str) -> Result<()> {
        let client = self.client().await?;
        let options = StopContainerOptionsBuilder::default()
            .t(STOP_SECONDS)
            .build();
        match client.stop_container(container, Some(options)).await {
            // It is gone, or stopped already.
            Ok(())
            | Err(DockerError::DockerResponseServerError {
                status_code: 304 | 404,
                ..
            }) => Ok(()),
            Err(error) => Err(self.error(error)),
        }
    }

    pub(super) async fn remove(&self, container: &str) -> Result<()> {
        let client = self.client().await?;
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        match client.remove_container(container, Some(options)).await {
            // It is gone, or someone else is removing it.
            Ok(())
            | Err(DockerError::DockerResponseServerError {
                status_code: 404 | 409,
                ..
            }) => Ok(()),
            Err(error) => Err(self.error(error)),
        }
    }

    pub(super) async fn has_image(&self, image: &str) -> Result<bool> {
        let client = self.client().await?;
        match client.inspect_image(image).await {
            Ok(_) => Ok(true),
            Err(DockerError::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(false),
            Err(error) => Err(self.error(error)),
        }
    }

    pub(super) async fn pull(
        &self,
        image: &str,
        credentials: Option<DockerCredentials>,
    ) -> Result<()> {
        let client = self.client().await?;
        let mut options = CreateImageOptionsBuilder::default().from_image(image);
        if !container::has_tag(image) {
            // Without a tag the engine would fetch all there are.
            options = options.tag("latest");
        }
        client
            .create_image(Some(options.build()), None, credentials)
            .map_ok(drop)
            .try_collect::<()>()
            .await
            .map_err(|error| self.error(error))
    }

    /// The name of the network of the functions, which is made when missing.
    pub(super) async fn network(&self) -> Result<String> {
        let client = self.client().await?;
        let options = ListNetworksOptionsBuilder::default()
            .filters(&HashMap::from([
                ("label", vec![format!("{NETWORK_LABEL}=true")]),
                ("driver", vec!["bridge".to_owned()]),
            ]))
            .build();
        let networks = client
            .list_networks(Some(options))
            .await
            .map_err(|error| self.error(error))?;
        if let Some(name) = networks
            .into_iter()
            .filter_map(|network| network.name)
            .min()
        {
            return Ok(name);
        }
        let request = NetworkCreateRequest {
            name: NETWORK.to_owned(),
            driver: Some("bridge".to_owned()),
            labels: Some(HashMap::from([(
                NETWORK_LABEL.to_owned(),
                "true".to_owned(),
            )])),
            ..NetworkCreateRequest::default()
        };
        match client.create_network(request).await {
            Ok(_) => Ok(NETWORK.to_owned()),
            // Two functions were deployed at a time.
            Err(DockerError::DockerResponseServerError {
                status_code: 409, ..
            }) => Ok(NETWORK.to_owned()),
            Err(error) => Err(self.error(error)),
        }
    }
}
