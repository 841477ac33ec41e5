//! `POST /v1/callback_secret/rotate`.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        problem::{Problem, Refusals},
    },
    registry::tenant_settings,
};

/// The key drawn.
#[derive(Debug, Serialize, ToSchema)]
pub struct CallbackSecret {
    /// The key to verify callbacks by (`whsec_…`); shown this once.
    secret: String,
    /// Until then the secret before signs too.
    #[serde(with = "time::serde::rfc3339")]
    previous_secret_until: OffsetDateTime,
}

/// Draw the secret that signs the callbacks of the tenant's jobs.
///
/// A job's `callback` is told of its end as a webhook endpoint would be, and signed the same way.
/// This is the only way to come by the secret; the one before signs too for 24 hours.
#[utoipa::path(
    post,
    path = "/v1/callback_secret/rotate",
    tag = "webhook_endpoints",
    operation_id = "rotate_callback_secret",
    responses((status = 200, body = CallbackSecret), Refusals),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
) -> Result<Response, Problem> {
    let (secret, previous_secret_until) =
        tenant_settings::rotate_callback_secret(&state.database, caller).await?;
    let body = CallbackSecret {
        secret: secret.reveal(),
        previous_secret_until,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}
