//! `GET /v1/retunes/{id}/report`: the campaign as one.

use axum::{Json, extract::State};

use crate::{
    contract::ids::RetuneId,
    service::{
        api::{
            AppState,
            authentication::Reader,
            extract::Id,
            problem::{Found, Missing, Problem, Refusals},
        },
        campaign::{self, Campaign},
    },
};

/// Show what came of a retune as a whole.
///
/// What was carried, what fell short, what it took beside an epoch of training, and what waits for a person. The
/// cost is read from the reports of its results.
#[utoipa::path(
    get,
    path = "/v1/retunes/{id}/report",
    tag = "retunes",
    operation_id = "get_retune_report",
    params(("id" = Uuid, Path, description = "The retune")),
    responses((status = 200, body = Campaign), Missing, Refusals),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Id(id): Id<RetuneId>,
) -> Result<Json<Campaign>, Problem> {
    let storage = state.storage(caller.tenant);
    let campaign = campaign::look(&state.database, &storage, caller.tenant, id).await?;
    campaign.found("retune").map(Json)
}
