//! `POST /v1/webhook_endpoints/{name}/rotate`.

use axum::{extract::State, http::StatusCode, response::Response};

use super::put::EndpointWithSecret;
use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::Name,
        problem::{Missing, Problem, Refusals},
    },
    database::webhook_endpoints,
};

/// Draw a new signing secret.
///
/// For 24 hours every webhook is signed with both, so that the receiver can change over; then the
/// new one signs alone. The secret is in this answer and nowhere else.
#[utoipa::path(
    post,
    path = "/v1/webhook_endpoints/{name}/rotate",
    tag = "webhook_endpoints",
    operation_id = "rotate_webhook_endpoint",
    params(("name" = String, Path, description = "The endpoint")),
    responses(
        (status = 200, body = EndpointWithSecret),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    Name(name): Name,
) -> Result<Response, Problem> {
    let rotated = webhook_endpoints::rotate(&state.database, caller, &name).await?;
    let (endpoint, secret) = rotated.ok_or_else(|| Problem::not_found("endpoint"))?;
    let secret = Some(secret.reveal());
    Ok(EndpointWithSecret { endpoint, secret }.answer(StatusCode::OK))
}
