//! `POST /v1/retunes/{id}/pause`, `resume` and `cancel`.

use axum::{Json, extract::State};

use crate::{
    contract::ids::RetuneId,
    service::{
        api::{
            AppState,
            authentication::Submitter,
            extract::Id,
            problem::{Found, Missing, Problem, Refusals},
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
pub async fn pause(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    Id(id): Id<RetuneId>,
) -> Result<Json<Retune>, Problem> {
    control::pause(&state.database, caller, id)
        .await?
        .found("retune")
        .map(Json)
}

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
pub async fn resume(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    Id(id): Id<RetuneId>,
) -> Result<Json<Retune>, Problem> {
    control::resume(&state.database, caller, id)
        .await?
        .found("retune")
        .map(Json)
}

/// Cancel a retune.
///
/// What waits is cancelled at once, what runs stops before its next timestep. What has ended stays.
#[utoipa::path(
    post,
    path = "/v1/retunes/{id}/cancel",
    tag = "retunes",
    operation_id = "cancel_retune",
    params(("id" = Uuid, Path, description = "The retune")),
    responses(
        (status = 200, body = Retune),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`invalid_state`: it has ended"),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn cancel(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    Id(id): Id<RetuneId>,
) -> Result<Json<Retune>, Problem> {
    control::cancel(&state.database, caller, id)
        .await?
        .found("retune")
        .map(Json)
}
