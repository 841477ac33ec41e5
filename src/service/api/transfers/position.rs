//! `GET /v1/transfers/{id}/position`: how long until it begins.

use axum::{Json, extract::State};

use crate::{
    contract::ids::TransferId,
    service::{
        api::{
            AppState,
            authentication::Reader,
            extract::Id,
            problem::{Found, Missing, Problem, Refusals},
        },
        database::transfers::position,
        domain::transfers::Position,
    },
};

/// Show what stands before a transfer in the queue.
///
/// Workers serve the tenants in turn, so that others' transfers are not counted: with few tenants about as many
/// begin as workers become free.
#[utoipa::path(
    get,
    path = "/v1/transfers/{id}/position",
    tag = "transfers",
    operation_id = "get_transfer_position",
    params(("id" = Uuid, Path, description = "The transfer")),
    responses((status = 200, body = Position), Missing, Refusals),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Id(id): Id<TransferId>,
) -> Result<Json<Position>, Problem> {
    let position = position::get(&state.database, caller.tenant, id).await?;
    Ok(Json(position.found("transfer")?))
}
