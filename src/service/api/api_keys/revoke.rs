//! `DELETE /v1/api_keys/{id}`.

use axum::{extract::State, http::StatusCode};

use crate::{
    contract::ids::KeyId,
    service::{
        api::{
            AppState,
            authentication::Administrator,
            extract::Id,
            problem::{Missing, Problem, Refusals, removed},
        },
        registry::keys,
    },
};

/// Withdraw a key. Other processes of the service may take it for up to five seconds more.
#[utoipa::path(
    delete,
    path = "/v1/api_keys/{id}",
    tag = "api_keys",
    operation_id = "revoke_api_key",
    params(("id" = Uuid, Path, description = "The key")),
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
    Id(id): Id<KeyId>,
) -> Result<StatusCode, Problem> {
    let known = keys::revoke(&state.database, caller, id).await?;
    state.forget_keys();
    removed(known, "key")
}
