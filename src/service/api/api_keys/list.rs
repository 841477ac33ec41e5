//! `GET /v1/api_keys`.

use axum::{Json, extract::State};

use crate::service::{
    access::ApiKey,
    api::{
        AppState,
        authentication::Administrator,
        page::Page,
        problem::{Problem, Refusals},
    },
    database::api_keys,
};

/// List the tenant's keys, withdrawn ones included, newest first. Secrets are not in it.
#[utoipa::path(
    get,
    path = "/v1/api_keys",
    tag = "api_keys",
    operation_id = "list_api_keys",
    responses((status = 200, body = Page<ApiKey>), Refusals),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
) -> Result<Json<Page<ApiKey>>, Problem> {
    Ok(Json(Page::whole(api_keys::list(&state.database, caller.tenant).await?)))
}
