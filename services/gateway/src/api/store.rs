//! `/system/store`: the functions that the image of the node carries, which are
//! there without a network.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use serde_json::{Value, json};

use super::{Gateway, functions::finish, json_answer};
use crate::{
    model::{FunctionDeployment, FunctionId},
    provider::{Error, Provider, Result},
    seed,
};

type Shared<P> = State<Arc<Gateway<P>>>;

pub(super) async fn list<P: Provider>(State(gateway): Shared<P>) -> Result<Response> {
    let carried = seed::carried(&gateway.functions)?;
    let all: Vec<Value> = carried.iter().map(entry).collect();
    Ok(json_answer(&all))
}

fn entry(function: &FunctionDeployment) -> Value {
    let annotations = function.annotations.as_ref();
    json!({
        "name": function.service,
        "image": function.image,
        "description": annotations.and_then(|all| all.get("description")),
    })
}

/// Deploys one of them, as [`list`] has it.
pub(super) async fn deploy<P: Provider>(
    State(gateway): Shared<P>,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    let function = seed::carried(&gateway.functions)?
        .into_iter()
        .find(|function| function.service == name)
        .ok_or(Error::NotFound)?;
    let id = FunctionId::new(&name, gateway.namespaces.default());
    let replicas = function.minimum();
    finish(async move {
        let (provider, folder) = (&*gateway.provider, &gateway.functions);
        seed::give(provider, &id, function, folder, replicas).await
    })
    .await
}
