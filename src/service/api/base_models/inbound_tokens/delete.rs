//! `DELETE /v1/base_models/{name}/inbound_tokens/{id}`.

use axum::{extract::State, http::StatusCode};

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::TwoNames,
        problem::{Missing, Problem, Refusals, removed},
    },
    registry::inbound_addresses,
};

/// Withdraw an address for notifications.
#[utoipa::path(
    delete,
    path = "/v1/base_models/{name}/inbound_tokens/{id}",
    tag = "base_models",
    operation_id = "delete_inbound_token",
    params(
        ("name" = String, Path, description = "The base model"),
        ("id" = uuid::Uuid, Path, description = "The address"),
    ),
    responses(
        (status = 204, description = "Withdrawn"),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    TwoNames(name, id): TwoNames,
) -> Result<StatusCode, Problem> {
    let id = id.parse().map_err(|_| Problem::not_found("address"))?;
    let known = inbound_addresses::delete(&state.database, caller, &name, id).await?;
    removed(known, "address")
}
