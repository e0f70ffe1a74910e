//! `/system/functions` and what belongs to it.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    Gateway, json_answer,
    request::{Namespaced, read},
};
use crate::{
    model::{self, DeleteRequest, FunctionDeployment, FunctionId, ScaleRequest},
    provider::{Error, Provider, Result},
    rules::Rules,
    scaling::limits::Limits,
};

type Shared<P> = State<Arc<Gateway<P>>>;

pub(super) async fn list<P: Provider>(
    State(gateway): Shared<P>,
    Query(query): Query<Namespaced>,
) -> Result<Response> {
    let namespace = gateway.namespace_of(&[&query.namespace]);
    let mut functions = gateway.provider.list().await?;
    functions.retain(|function| function.namespace == namespace);
    for function in &mut functions {
        let id = FunctionId::new(&function.name, &function.namespace);
        function.invocation_count = gateway.metrics.invocations(&id);
    }
    Ok(json_answer(&functions))
}

/// What is asked of one function.
#[derive(Debug, Deserialize)]
pub(super) struct StatusQuery {
    namespace: Option<String>,
    usage: Option<String>,
}

pub(super) async fn status<P: Provider>(
    State(gateway): Shared<P>,
    Path(name): Path<String>,
    Query(query): Query<StatusQuery>,
) -> Result<Response> {
    let id = gateway.id(&name, &[&query.namespace]);
    let mut function = gateway.provider.status(&id).await?;
    if matches!(query.usage.as_deref(), Some("1" | "true")) && function.available_replicas > 0 {
        function.usage = Some(gateway.provider.usage(&id).await?);
    }
    function.invocation_count = gateway.metrics.invocations(&id);
    Ok(json_answer(&function))
}

pub(super) async fn deploy<P: Provider>(
    State(gateway): Shared<P>,
    Query(query): Query<Namespaced>,
    body: Bytes,
) -> Result<StatusCode> {
    let (id, deployment) = gateway.deployment(&query, &body).await?;
    let replicas = deployment.minimum();
    finish(async move { gateway.provider.deploy(&id, deployment, replicas).await }).await
}

pub(super) async fn update<P: Provider>(
    State(gateway): Shared<P>,
    Query(query): Query<Namespaced>,
    body: Bytes,
) -> Result<StatusCode> {
    let (id, deployment) = gateway.deployment(&query, &body).await?;
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
    let delete = async move {
        gateway.provider.delete(&id).await?;
        gateway.by_hand.set(&id, 0)
    };
    finish(delete).await
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
    let scale = async move {
        gateway.starter.scale(&id, request.replicas).await?;
        gateway.by_hand.set(&id, request.replicas)
    };
    let accepted = finish(scale).await?;
    Ok(accepted.into_response())
}

/// Most replicas of a function on one node: a slip of the keyboard must not
/// fill it with containers.
const MAX_REPLICAS: u32 = 100;

impl<P: Provider> Gateway<P> {
    pub(super) fn id(&self, name: &str, named: &[&Option<String>]) -> FunctionId {
        FunctionId::parse(name, &self.namespace_of(named))
    }

    /// Reads and checks what is to be deployed.
    async fn deployment(
        &self,
        query: &Namespaced,
        body: &[u8],
    ) -> Result<(FunctionId, FunctionDeployment)> {
        let deployment: FunctionDeployment = read(body)?;
        let namespace = self.known_namespace(&[&deployment.namespace, &query.namespace])?;
        if !model::is_name(&deployment.service) {
            return Err(Error::Invalid(format!(
                "service: \"{}\" cannot be the name of a function: use at most 63 of a-z, 0-9 and \"-\", with a letter or digit at both ends",
                deployment.service
            )));
        }
        if deployment.image.trim().is_empty() {
            return Err(Error::Invalid("image: no image is named".to_owned()));
        }
        let limits = Limits::of(deployment.labels.as_ref()).map_err(Error::Invalid)?;
        if limits.max > MAX_REPLICAS {
            return Err(Error::Invalid(format!(
                "labels: com.openfaas.scale.min and com.openfaas.scale.max are at most the {MAX_REPLICAS} replicas that a function may have"
            )));
        }
        let annotations = deployment.annotations.as_ref();
        let rules = annotations.map(Rules::check).transpose();
        let token = rules.map_err(Error::Invalid)?.and_then(|rules| rules.token);
        if let Some(token) = token
            && !self
                .provider
                .secrets(&namespace)
                .await?
                .iter()
                .any(|it| it == token)
        {
            return Err(Error::Invalid(format!("unable to find secret: {token}")));
        }
        Ok((FunctionId::new(&deployment.service, &namespace), deployment))
    }
}

/// Does the work to its end, even when the caller goes.
pub(super) async fn finish(
    work: impl Future<Output = Result<()>> + Send + 'static,
) -> Result<StatusCode> {
    match tokio::spawn(work).await {
        Ok(result) => result.map(|()| StatusCode::ACCEPTED),
        Err(error) => Err(Error::Failed(error.to_string())),
    }
}
