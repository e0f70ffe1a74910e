//! `/system/node`.

use std::{path::Path, sync::Arc};

use axum::{extract::State, response::Response};
use serde_json::json;

use super::{Gateway, LOOK, json_answer};
use crate::{node::Node, provider::Provider};

/// How the node is, and what runs the functions.
pub(super) async fn show<P: Provider>(State(gateway): State<Arc<Gateway<P>>>) -> Response {
    let about = tokio::time::timeout(LOOK, gateway.provider.about()).await;
    let engine = about.ok().filter(|about| !about.release.is_empty());
    let mut answer = json!(Node::read(Path::new("/"), &gateway.state));
    answer["engine"] = json!(engine.map(|about| json!({
        "name": about.orchestration,
        "version": about.release,
    })));
    answer["gateway"] = json!(env!("CARGO_PKG_VERSION"));
    answer["namespace"] = json!(gateway.namespaces.default());
    json_answer(&answer)
}
