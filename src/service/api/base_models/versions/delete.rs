//! `DELETE /v1/base_models/{name}/versions/{version}`.

use axum::{extract::State, http::StatusCode};

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::TwoNames,
        problem::{Missing, Problem, Refusals, removed},
    },
    registry::removal,
};

/// Delete a version of a base model.
///
/// The model stays in storage. Versions that were made from it have no parent from then on.
#[utoipa::path(
    delete,
    path = "/v1/base_models/{name}/versions/{version}",
    tag = "base_models",
    operation_id = "delete_base_model_version",
    params(
        ("name" = String, Path, description = "The base model"),
        ("version" = String, Path, description = "The version"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`in_use`: a fine-tune is tuned from it, a fine-tune's version or an alias stands on it, or a transfer onto it has not ended"),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    TwoNames(name, version): TwoNames,
) -> Result<StatusCode, Problem> {
    let known = removal::base_version(&state.database, caller, &name, &version).await?;
    removed(known, "version")
}
