//! `GET /v1/webhook_endpoints`.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::QueryPairs,
        page::{Cut, Page},
        problem::{Problem, Refusals},
    },
    database::webhook_endpoints,
    webhooks::Endpoint,
};

/// List the tenant's endpoints, newest first.
#[utoipa::path(
    get,
    path = "/v1/webhook_endpoints",
    tag = "webhook_endpoints",
    operation_id = "list_webhook_endpoints",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 200, description = "Rows a page, 50 by default"),
        ("after" = Option<Uuid>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, body = Page<Endpoint>),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`invalid_query`"),
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
        webhook_endpoints::list(&state.database, caller.tenant, cut.after, cut.rows()).await?;
    Ok(Json(Page::cut(rows, cut.limit, |endpoint| endpoint.id.to_string())))
}
