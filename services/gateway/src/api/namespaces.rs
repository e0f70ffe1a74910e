//! `/system/namespaces` and `/system/namespace/`.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::{Gateway, json_answer, request::read};
use crate::{
    model::Namespace,
    provider::{Error, Provider, Result},
};

type Shared<P> = State<Arc<Gateway<P>>>;
/// The name, which old clients leave to the body.
type Named = Option<Path<String>>;

pub(super) async fn list<P: Provider>(State(gateway): Shared<P>) -> Response {
    json_answer(&gateway.namespaces.names())
}

pub(super) async fn get<P: Provider>(
    State(gateway): Shared<P>,
    Path(name): Path<String>,
) -> Response {
    match gateway.namespaces.get(&name) {
        Ok(namespace) => json_answer(&namespace),
        Err(error) => refuse(&name, error),
    }
}

pub(super) async fn create<P: Provider>(
    State(gateway): Shared<P>,
    name: Named,
    body: Bytes,
) -> Result<Response> {
    let namespace = named(name, &body)?;
    let name = namespace.name.clone();
    Ok(match gateway.namespaces.create(namespace) {
        Ok(()) => StatusCode::CREATED.into_response(),
        Err(error) => refuse(&name, error),
    })
}

pub(super) async fn update<P: Provider>(
    State(gateway): Shared<P>,
    name: Named,
    body: Bytes,
) -> Result<Response> {
    let namespace = named(name, &body)?;
    let name = namespace.name.clone();
    Ok(match gateway.namespaces.update(namespace) {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(error) => refuse(&name, error),
    })
}

/// A namespace goes when it is empty: a slip of the keyboard must not end
/// functions.
pub(super) async fn delete<P: Provider>(
    State(gateway): Shared<P>,
    name: Named,
    body: Bytes,
) -> Result<Response> {
    let name = named(name, &body)?.name;
    let functions = gateway.provider.list().await?;
    let functions = functions.iter().filter(|it| it.namespace == name);
    let functions = functions.map(|it| format!("function {}", it.name));
    let secrets = gateway.provider.secrets(&name).await?;
    let secrets = secrets.iter().map(|name| format!("secret {name}"));
    let holds: Vec<String> = functions.chain(secrets).collect();
    if !holds.is_empty() {
        return Err(Error::Invalid(format!(
            "namespace {name} is not empty; first remove {}",
            holds.join(", ")
        )));
    }
    Ok(match gateway.namespaces.remove(&name) {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(error) => refuse(&name, error),
    })
}

fn named(name: Named, body: &[u8]) -> Result<Namespace> {
    // A name in the path needs no body.
    let mut namespace = match (&name, body) {
        (Some(_), []) => Namespace::default(),
        _ => read(body)?,
    };
    if let Some(Path(name)) = name {
        namespace.name = name;
    }
    if namespace.name.is_empty() {
        return Err(Error::Invalid("name: no namespace is named".to_owned()));
    }
    Ok(namespace)
}

fn refuse(name: &str, error: Error) -> Response {
    match error {
        Error::NotFound => (
            StatusCode::NOT_FOUND,
            format!("there is no namespace {name}"),
        )
            .into_response(),
        Error::Exists => (
            StatusCode::CONFLICT,
            format!("there is a namespace {name} already"),
        )
            .into_response(),
        error => error.into_response(),
    }
}
