//! `/system/alert`, the webhook of Alertmanager.

use std::{fmt::Write, sync::Arc};

use axum::{
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::Gateway;
use crate::{
    model::FunctionId,
    provider::{Error, Provider, Result},
    scaling::{
        alert::{self, Alert, Webhook},
        limits::Limits,
    },
};

/// Scales the functions that the alerts are about. One that is not there, or is
/// not named, is passed over, as upstream does.
pub(super) async fn receive<P: Provider>(
    State(gateway): State<Arc<Gateway<P>>>,
    body: Bytes,
) -> Response {
    let Ok(webhook) = serde_json::from_slice::<Webhook>(&body) else {
        let reason = "Unable to parse alert, bad format.";
        return (StatusCode::BAD_REQUEST, reason).into_response();
    };
    let mut errors = String::new();
    for (index, alert) in webhook.alerts.iter().enumerate() {
        match apply(&gateway, alert).await {
            Ok(()) | Err(Error::NotFound) => {}
            Err(error) => {
                let _ = writeln!(errors, "[{index}] {error}");
            }
        }
    }
    if errors.is_empty() {
        StatusCode::OK.into_response()
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, errors).into_response()
    }
}

async fn apply<P: Provider>(gateway: &Gateway<P>, alert: &Alert) -> Result<()> {
    let name = &alert.labels.function_name;
    if name.is_empty() {
        return Ok(());
    }
    let id = FunctionId::parse(name, gateway.namespaces.default());
    let status = gateway.provider.status(&id).await?;
    let limits = Limits::of(status.labels.as_ref()).map_err(Error::Invalid)?;
    let replicas = alert::replicas(status.replicas, limits, alert.status == "firing");
    if replicas != status.replicas {
        gateway.provider.scale(&id, replicas).await?;
    }
    Ok(())
}
