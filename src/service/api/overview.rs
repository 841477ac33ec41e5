//! `GET /v1/overview`: is it well?

use axum::{Json, extract::State};

use super::{
    AppState,
    authentication::Reader,
    problem::{Problem, Refusals},
};
use crate::service::database::overview::{self, Overview};

/// Show how the tenant's queue, results and receivers are.
#[utoipa::path(
    get,
    path = "/v1/overview",
    tag = "overview",
    operation_id = "get_overview",
    responses((status = 200, body = Overview), Refusals),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
) -> Result<Json<Overview>, Problem> {
    Ok(Json(overview::look(&state.database, caller.tenant).await?))
}
