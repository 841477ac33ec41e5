//! `POST /v1/retunes/{id}/resume`.

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

/// Resume a retune that was paused.
#[utoipa::path(
    post,
    path = "/v1/retunes/{id}/resume",
    tag = "retunes",
    operation_id = "resume_retune",
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
    super::found(control::resume(&state.database, caller, id).await?)
}
