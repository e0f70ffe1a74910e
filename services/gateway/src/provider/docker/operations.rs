//! What changes functions. Every operation runs under the lock of its function
//! and asks the engine afresh.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    DockerProvider, Pull,
    container::{self, Surroundings},
    functions::{self, Function, Step},
    placement,
};
use crate::{
    model::{FunctionDeployment, FunctionId},
    provider::{Error, Result},
    scaling::starter,
};

/// How long the replicas of an update have to answer.
const UPDATE_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks at a container that was started.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl DockerProvider {
    /// The function as it is now.
    async fn now(&self, id: &FunctionId) -> Result<Option<Function>> {
        let containers = self.engine.containers(Some(id)).await?;
        Ok(functions::group(containers).remove(id))
    }

    pub(super) async fn create_function(
        &self,
        id: &FunctionId,
        deployment: FunctionDeployment,
        replicas: u32,
    ) -> Result<()> {
        self.check(id, &deployment).await?;
        if self.now(id).await?.is_some() {
            return Err(Error::Exists);
        }
        self.fetch(&deployment).await?;
        let made = self.make(id, &deployment, replicas, revision(0)).await;
        self.settle_secrets(id).await?;
        made.map(drop)
    }

    pub(super) async fn replace_function(
        &self,
        id: &FunctionId,
        deployment: FunctionDeployment,
    ) -> Result<()> {
        self.check(id, &deployment).await?;
        let old = self.now(id).await?.ok_or(Error::NotFound)?;
        self.fetch(&deployment).await?;
        let replaced = self.swap(id, &deployment, &old).await;
        self.settle_secrets(id).await?;
        replaced
    }

    /// Puts containers of a deployment in the place of others.
    async fn swap(
        &self,
        id: &FunctionId,
        deployment: &FunctionDeployment,
        old: &Function,
    ) -> Result<()> {
        let last = old.replicas().iter().map(|replica| replica.revision).max();
        let revision = revision(last.unwrap_or_default());
        let made = self.make(id, deployment, old.wanted(), revision).await?;
        if old.wanted() > 0
            && let Err(error) = self.await_readiness(id, revision).await
        {
            self.remove_all(made.iter().map(String::as_str)).await?;
            return Err(error);
        }
        self.remove_all(old.containers()).await
    }

    /// Takes from a function the secrets that it does not have, or not any more.
    /// What it is after a change, be it one that failed, the engine knows.
    async fn settle_secrets(&self, id: &FunctionId) -> Result<()> {
        if !self.secrets.has_given(id) {
            return Ok(());
        }
        let function = self.now(id).await?;
        let first = function.as_ref().and_then(|it| it.replicas().first());
        let keep = first.map(|replica| replica.deployment.secret_names());
        self.secrets.settle(id, keep.unwrap_or_default())
    }

    pub(super) async fn remove_function(&self, id: &FunctionId) -> Result<()> {
        let function = self.now(id).await?.ok_or(Error::NotFound)?;
        self.remove_all(function.containers()).await?;
        self.secrets.settle(id, &[])
    }

    pub(super) async fn scale_function(&self, id: &FunctionId, target: u32) -> Result<()> {
        let function = self.now(id).await?.ok_or(Error::NotFound)?;
        let Some(first) = function.replicas().first() else {
            return Err(Error::NotFound);
        };
        for step in functions::steps(function.replicas(), target) {
            match step {
                Step::Start(container) => self.engine.start(&container).await?,
                Step::Stop(container) => self.engine.stop(&container).await?,
                Step::Remove(container) => self.retire(&container).await?,
                Step::Create(index) => {
                    let around = self.surroundings(id, &first.deployment).await?;
                    let body =
                        container::body(id, &first.deployment, index, first.revision, &around)?;
                    let name = container::name(id, index, first.revision);
                    let container = self.engine.create(&name, body).await?;
                    self.engine.start(&container).await?;
                }
            }
        }
        Ok(())
    }

    async fn check(&self, id: &FunctionId, deployment: &FunctionDeployment) -> Result<()> {
        container::check(deployment)?;
        self.allowed.grant(deployment)?;
        self.secrets
            .check(&id.namespace, deployment.secret_names())?;
        let constraints = deployment.constraints.as_deref().unwrap_or_default();
        if constraints.is_empty() {
            return Ok(());
        }
        match placement::unmet(constraints, &self.engine.info().await?) {
            None => Ok(()),
            Some(constraint) => Err(Error::Invalid(format!(
                "constraints: \"{constraint}\" does not hold for this node, and there is no other"
            ))),
        }
    }

    async fn surroundings(
        &self,
        id: &FunctionId,
        deployment: &FunctionDeployment,
    ) -> Result<Surroundings> {
        Ok(Surroundings {
            network: self.engine.network().await?,
            secrets: self.secrets.give(id, deployment.secret_names())?,
            host: self.allowed.grant(deployment)?,
        })
    }

    /// Removes what updates left behind that a power cut ended.
    pub(super) async fn tidy(&self) -> Result<()> {
        for id in self.secrets.given()? {
            let _guard = self.locks.lock(&id).await;
            self.settle_secrets(&id).await?;
            self.secrets.refresh(&id)?;
        }
        let functions = self.functions().await?;
        for (id, function) in functions.iter() {
            if function.leftovers().is_empty() {
                continue;
            }
            let _guard = self.locks.lock(id).await;
            if let Some(function) = self.now(id).await? {
                self.remove_all(function.leftovers().iter().map(String::as_str))
                    .await?;
            }
            self.changed();
        }
        Ok(())
    }

    /// Makes the containers of a function and starts as many as are wanted. When
    /// that fails, none is left.
    async fn make(
        &self,
        id: &FunctionId,
        deployment: &FunctionDeployment,
        replicas: u32,
        revision: u64,
    ) -> Result<Vec<String>> {
        let around = self.surroundings(id, deployment).await?;
        let mut made = Vec::new();
        let result = async {
            for index in 0..replicas.max(1) {
                let body = container::body(id, deployment, index, revision, &around)?;
                let name = container::name(id, index, revision);
                made.push(self.engine.create(&name, body).await?);
            }
            for container in made.iter().take(replicas as usize) {
                self.engine.start(container).await?;
            }
            Ok(())
        }
        .await;
        if let Err(error) = result {
            // What cannot be removed now is a leftover.
            let _ = self.remove_all(made.iter().map(String::as_str)).await;
            return Err(error);
        }
        Ok(made)
    }

    /// Waits until every replica of a revision answers.
    async fn await_readiness(&self, id: &FunctionId, revision: u64) -> Result<()> {
        let work = async {
            loop {
                let containers = self.engine.containers(Some(id)).await?;
                let endpoints: Option<Vec<SocketAddr>> = containers
                    .into_iter()
                    .filter_map(container::replica)
                    .filter(|replica| replica.revision == revision)
                    .map(|replica| replica.endpoint)
                    .collect();
                if let Some(endpoints) = endpoints {
                    for endpoint in endpoints {
                        starter::probe_until_ready(endpoint).await;
                    }
                    return Ok(());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(UPDATE_LIMIT, work).await.unwrap_or_else(|_| {
            Err(Error::Failed(format!(
                "the new replicas of {id} did not answer within {} seconds; the old ones are kept",
                UPDATE_LIMIT.as_secs()
            )))
        })
    }

    async fn remove_all(&self, containers: impl Iterator<Item = &str>) -> Result<()> {
        let work = containers.map(|container| self.retire(container));
        futures_util::future::try_join_all(work).await.map(drop)
    }

    /// Lets a container end what it is doing, and removes it.
    async fn retire(&self, container: &str) -> Result<()> {
        self.engine.stop(container).await?;
        self.engine.remove(container).await
    }

    /// Sees that the image is there.
    async fn fetch(&self, deployment: &FunctionDeployment) -> Result<()> {
        let image = &deployment.image;
        let present = self.engine.has_image(image).await?;
        let wanted = match self.pull {
            Pull::Always => true,
            Pull::Never => false,
            Pull::Missing => !present || container::may_have_changed(image),
        };
        if !wanted && present {
            return Ok(());
        }
        if !wanted {
            return Err(Error::Invalid(format!(
                "{image} is not on this node, and gateway.pull says never"
            )));
        }
        let credentials = container::credentials(deployment)?;
        match self.engine.pull(image, credentials).await {
            // Better an old one than none, on a node whose network is away.
            Err(Error::Unavailable(reason)) => Err(Error::Unavailable(reason)),
            Err(_) if present && self.pull == Pull::Missing => Ok(()),
            Err(error) => Err(Error::Invalid(format!("cannot fetch {image}: {error}"))),
            Ok(()) => Ok(()),
        }
    }
}

/// A revision after `last`: the time, unless the clock went back.
fn revision(last: u64) -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis())
        .unwrap_or_default()
        .max(last + 1)
}
