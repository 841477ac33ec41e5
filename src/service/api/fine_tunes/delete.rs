//! `DELETE /v1/fine_tunes/{name}`.

use axum::{extract::State, http::StatusCode};

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::Name,
        problem::{Missing, Problem, Refusals, removed},
    },
    registry::removal,
};

/// Delete a fine-tune, with its versions and aliases.
///
/// Its results stay in storage, and its transfers in their list.
#[utoipa::path(
    delete,
    path = "/v1/fine_tunes/{name}",
    tag = "fine_tunes",
    operation_id = "delete_fine_tune",
    params(("name" = String, Path, description = "The fine-tune")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`in_use`: a transfer of it has not ended"),
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
    removed(
        removal::fine_tune(&state.database, caller, &name).await?,
        "fine-tune",
    )
}
