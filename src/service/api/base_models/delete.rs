//! `DELETE /v1/base_models/{name}`.

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

/// Delete a base model, with its versions, aliases, announcements and inbound tokens.
///
/// The models stay in storage. Retunes and transfers stay, without its name.
#[utoipa::path(
    delete,
    path = "/v1/base_models/{name}",
    tag = "base_models",
    operation_id = "delete_base_model",
    params(("name" = String, Path, description = "The base model")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`in_use`: a fine-tune is tuned from it, a fine-tune's version stands on it, or a transfer onto it has not ended"),
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
        removal::base_model(&state.database, caller, &name).await?,
        "base model",
    )
}
