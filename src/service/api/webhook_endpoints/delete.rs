//! `DELETE /v1/webhook_endpoints/{name}`.

use axum::{extract::State, http::StatusCode};

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::Name,
        problem::{Missing, Problem, Refusals},
    },
    database::webhook_endpoints,
};

/// Remove an endpoint, with the history of its deliveries.
#[utoipa::path(
    delete,
    path = "/v1/webhook_endpoints/{name}",
    tag = "webhook_endpoints",
    operation_id = "delete_webhook_endpoint",
    params(("name" = String, Path, description = "The endpoint")),
    responses(
        (status = 204, description = "Removed"),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    Name(name): Name,
) -> Result<StatusCode, Problem> {
    let known = webhook_endpoints::delete(&state.database, caller, &name).await?;
    if known { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("endpoint")) }
}
