//! `/system/secrets`. Values go in, and never out.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Gateway, json_answer,
    request::{Namespaced, read},
};
use crate::{
    model::{SecretRequest, SecretStatus},
    provider::{Error, Provider, Result},
};

type Shared<P> = State<Arc<Gateway<P>>>;

pub(super) async fn list<P: Provider>(
    State(gateway): Shared<P>,
    Query(query): Query<Namespaced>,
) -> Result<Response> {
    let namespace = gateway.namespace_of(&[&query.namespace]);
    let secrets: Vec<SecretStatus> = gateway
        .provider
        .secrets(&namespace)
        .await?
        .into_iter()
        .map(|name| SecretStatus {
            name,
            namespace: namespace.clone(),
        })
        .collect();
    Ok(json_answer(&secrets))
}

pub(super) async fn create<P: Provider>(
    State(gateway): Shared<P>,
    Query(query): Query<Namespaced>,
    body: Bytes,
) -> Result<Response> {
    let (namespace, secret) = gateway.secret(&query, &body)?;
    let value = value(&secret)?;
    let provider = &gateway.provider;
    match provider
        .create_secret(&namespace, &secret.name, &value)
        .await
    {
        Ok(()) => Ok(StatusCode::CREATED.into_response()),
        Err(Error::Exists) => Ok((
            StatusCode::CONFLICT,
            format!("there is a secret {} already; update it", secret.name),
        )
            .into_response()),
        Err(error) => Err(error),
    }
}

pub(super) async fn replace<P: Provider>(
    State(gateway): Shared<P>,
    Query(query): Query<Namespaced>,
    body: Bytes,
) -> Result<Response> {
    let (namespace, secret) = gateway.secret(&query, &body)?;
    let value = value(&secret)?;
    let provider = &gateway.provider;
    let result = provider.replace_secret(&namespace, &secret.name, &value);
    answer(&secret.name, result.await)
}

pub(super) async fn delete<P: Provider>(
    State(gateway): Shared<P>,
    Query(query): Query<Namespaced>,
    body: Bytes,
) -> Result<Response> {
    let (namespace, secret) = gateway.secret(&query, &body)?;
    let result = gateway.provider.delete_secret(&namespace, &secret.name);
    answer(&secret.name, result.await)
}

fn answer(name: &str, result: Result<()>) -> Result<Response> {
    match result {
        Ok(()) => Ok(StatusCode::ACCEPTED.into_response()),
        Err(Error::NotFound) => {
            Ok((StatusCode::NOT_FOUND, format!("there is no secret {name}")).into_response())
        }
        Err(error) => Err(error),
    }
}

/// The bytes of a secret.
fn value(secret: &SecretRequest) -> Result<Vec<u8>> {
    match secret.raw_value.as_deref().filter(|raw| !raw.is_empty()) {
        Some(raw) => STANDARD
            .decode(raw)
            .map_err(|_| Error::Invalid("rawValue is not base64".to_owned())),
        None => Ok(secret.value.clone().unwrap_or_default().into_bytes()),
    }
}

impl<P: Provider> Gateway<P> {
    fn secret(&self, query: &Namespaced, body: &[u8]) -> Result<(String, SecretRequest)> {
        let secret: SecretRequest = read(body)?;
        let namespace = self.known_namespace(&[&secret.namespace, &query.namespace])?;
        Ok((namespace, secret))
    }
}
