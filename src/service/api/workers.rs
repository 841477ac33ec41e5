//! `GET /v1/workers`: the processes that compute.

use axum::{Json, extract::State};

use super::{
    AppState,
    authentication::Reader,
    page::Page,
    problem::{Problem, Refusals},
};
use crate::service::database::workers::{self, Worker};

/// List the workers seen in the last minutes. What they do for other tenants is not shown.
#[utoipa::path(
    get,
    path = "/v1/workers",
    tag = "workers",
    operation_id = "list_workers",
    responses((status = 200, body = Page<Worker>), Refusals),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
) -> Result<Json<Page<Worker>>, Problem> {
    Ok(Json(Page::whole(
        workers::list_for(&state.database, caller.tenant).await?,
    )))
}
