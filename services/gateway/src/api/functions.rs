//! `/system/functions` and what belongs to it.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Gateway, json_answer};
use crate::{
    model::{self, DeleteRequest, FunctionDeployment, FunctionId, ScaleRequest},
    provider::{Error, Provider, Result},
};

/// The namespace, which clients put into the query or into the body.
#[derive(Debug, Deserialize)]
pub(super) struct Namespaced {
    namespace: Option<String>,
}

type Shared<P> = State<Arc<Gateway<P>>>;

pub(super) async fn list<P: Provider>(
    State(gateway): Shared<P>,
    Query(query): Query<Namespaced>,
) -> Result<Response> {
    let namespace = gateway.namespace_of(&[&query.namespace]);
    let counts = gateway.metrics.invocations();
    let mut functions = gateway.provider.list().await?;
    functions.retain(|function| function.namespace == namespace);
    for function in &mut functions {
        let name = format!("{}.{}", function.name, function.namespace);
        function.invocation_count = counts.get(&name).copied().unwrap_or_default();
    }
    Ok(json_answer(&functions))
}

pub(super) async fn status<P: Provider>(
    State(gateway): Shared<P>,
    Path(name): Path<String>,
    Query(query): Query<Namespaced>,
) -> Result<Response> {
    let id = gateway.id(&name, &[&query.namespace]);
    let mut function = gateway.provider.status(&id).await?;
    let counts = gateway.metrics.invocations();
    function.invocation_count = counts.get(&id.to_string()).copied().unwrap_or_default();
    Ok(json_answer(&function))
}

pub(super) async fn deploy<P: Provider>(
    State(gateway): Shared<P>,
    Query(query): Query<Namespaced>,
    body: Bytes,
) -> Result<StatusCode> {
    let (id, deployment) = gateway.deployment(&query, &body)?;
    let replicas = deployment.minimum();
    finish(async move { gateway.provider.deploy(&id, deployment, replicas).await }).await
}

pub(super) async fn update<P: Provider>(
    State(gateway): Shared<P>,
    Query(query): Query<Namespaced>,
    body: Bytes,
) -> Result<StatusCode> {
    let (id, deployment) = gateway.deployment(&query, &body)?;
    finish(async move { gateway.provider.update(&id, deployment).await }).await
}

pub(super) async fn delete<P: Provider>(
    State(gateway): Shared<P>,
    Query(query): Query<Namespaced>,
    body: Bytes,
) -> Result<StatusCode> {
    let request: DeleteRequest = read(&body)?;
    if request.function_name.is_empty() {
        return Err(Error::Invalid("functionName is empty".to_owned()));
    }
    let id = gateway.id(
        &request.function_name,
        &[&request.namespace, &query.namespace],
    );
    finish(async move { gateway.provider.delete(&id).await }).await
}

pub(super) async fn scale<P: Provider>(
    State(gateway): Shared<P>,
    Path(name): Path<String>,
    Query(query): Query<Namespaced>,
    body: Bytes,
) -> Result<Response> {
    let request: ScaleRequest = read(&body)?;
    if request.replicas > MAX_REPLICAS {
        return Err(Error::Invalid(format!(
            "{} replicas are more than the {MAX_REPLICAS} that a function may have",
            request.replicas
        )));
    }
    let id = gateway.id(&name, &[&request.namespace, &query.namespace]);
    let accepted =
        finish(async move { gateway.provider.scale(&id, request.replicas).await }).await?;
    Ok(accepted.into_response())
}

/// Most replicas of a function on one node: a slip of the keyboard must not
/// fill it with containers.
const MAX_REPLICAS: u32 = 100;

impl<P: Provider> Gateway<P> {
    /// The first namespace that is named.
    fn namespace_of(&self, named: &[&Option<String>]) -> String {
        named
            .iter()
            .find_map(|name| name.as_deref().filter(|name| !name.is_empty()))
            .unwrap_or(&self.namespace)
            .to_owned()
    }

    fn id(&self, name: &str, named: &[&Option<String>]) -> FunctionId {
        FunctionId::parse(name, &self.namespace_of(named))
    }

    /// Reads and checks what is to be deployed.
    fn deployment(
        &self,
        query: &Namespaced,
        body: &[u8],
    ) -> Result<(FunctionId, FunctionDeployment)> {
        let deployment: FunctionDeployment = read(body)?;
        let namespace = self.namespace_of(&[&deployment.namespace, &query.namespace]);
        if namespace != self.namespace {
            return Err(Error::Invalid("namespace not valid".to_owned()));
        }
        if !model::is_name(&deployment.service) {
            return Err(Error::Invalid(format!(
                "service: \"{}\" cannot be the name of a function: use at most 63 of a-z, 0-9 and \"-\", with a letter or digit at both ends",
                deployment.service
            )));
        }
        if deployment.image.trim().is_empty() {
            return Err(Error::Invalid("image: no image is named".to_owned()));
        }
        if deployment.minimum() > MAX_REPLICAS {
            return Err(Error::Invalid(format!(
                "labels: com.openfaas.scale.min is more than the {MAX_REPLICAS} replicas that a function may have"
            )));
        }
        Ok((FunctionId::new(&deployment.service, &namespace), deployment))
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body)
        .map_err(|error| Error::Invalid(format!("cannot read the request: {error}")))
}

/// Does the work to its end, even when the caller goes.
async fn finish(work: impl Future<Output = Result<()>> + Send + 'static) -> Result<StatusCode> {
    match tokio::spawn(work).await {
        Ok(result) => result.map(|()| StatusCode::ACCEPTED),
        Err(error) => Err(Error::Failed(error.to_string())),
    }
}
