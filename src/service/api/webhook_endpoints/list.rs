//! `GET /v1/webhook_endpoints`.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::QueryPairs,
        page::{Cut, Page, PageQuery},
        problem::{Problem, QueryRefusals, Refusals},
    },
    database::webhook_endpoints,
    domain::events::Endpoint,
};

/// List the tenant's endpoints, newest first.
#[utoipa::path(
    get,
    path = "/v1/webhook_endpoints",
    tag = "webhook_endpoints",
    operation_id = "list_webhook_endpoints",
    params(
        PageQuery,
    ),
    responses(
        (status = 200, body = Page<Endpoint>),
        QueryRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    QueryPairs(query): QueryPairs,
) -> Result<Json<Page<Endpoint>>, Problem> {
    let cut = Cut::alone(query)?;
    let rows =
        webhook_endpoints::list(&state.database, caller.tenant, cut.after(), cut.rows()).await?;
    Ok(Json(Page::cut(rows, cut.limit, |endpoint| endpoint.id.to_string())))
}
