//! `GET /v1/api_keys`.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::QueryPairs,
        page::{Cut, Page, PageQuery},
        problem::{Problem, QueryRefusals, Refusals},
    },
    database::api_keys,
    domain::access::ApiKey,
};

/// List the tenant's keys, withdrawn ones included, newest first. Secrets are not in it.
#[utoipa::path(
    get,
    path = "/v1/api_keys",
    tag = "api_keys",
    operation_id = "list_api_keys",
    params(
        PageQuery,
    ),
    responses(
        (status = 200, body = Page<ApiKey>),
        QueryRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    QueryPairs(query): QueryPairs,
) -> Result<Json<Page<ApiKey>>, Problem> {
    let cut = Cut::alone(query)?;
    let rows = api_keys::list(&state.database, caller.tenant, cut.after(), cut.rows()).await?;
    Ok(cut.page(rows))
}
