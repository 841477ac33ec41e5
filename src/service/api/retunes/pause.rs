//! `POST /v1/retunes/{id}/pause`.

use axum::{Json, extract::State};

use crate::{
    contract::ids::RetuneId,
    service::{
        api::{
            AppState,
            authentication::Submitter,
            extract::Id,
            problem::{Missing, Problem, Refusals},
        },
        domain::registry::retunes::Retune,
        registry::control,
    },
};

/// Pause a retune.
///
/// Its waiting transfers do not begin; what runs goes on. Pausing twice is pausing once.
#[utoipa::path(
    post,
    path = "/v1/retunes/{id}/pause",
    tag = "retunes",
    operation_id = "pause_retune",
    params(("id" = Uuid, Path, description = "The retune")),
    responses(
        (status = 200, body = Retune),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`invalid_state`: it has ended"),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    Id(id): Id<RetuneId>,
) -> Result<Json<Retune>, Problem> {
    super::found(control::pause(&state.database, caller, id).await?)
}
