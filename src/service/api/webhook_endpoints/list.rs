//! `GET /v1/webhook_endpoints`.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::QueryPairs,
        page::{self, Page},
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
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
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
    let (mut after, mut limit) = (None, page::DEFAULT_LIMIT);
    for (name, value) in query {
        match name.as_str() {
            "after" => after = Some(value),
            "limit" => limit = page::limit(&value)?,
            _ => {
                let detail = "no such parameter; there are limit and after";
                return Err(Problem::invalid_query(&name, detail));
            }
        }
    }
    let rows = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let rows =
        webhook_endpoints::list(&state.database, caller.tenant, after.as_deref(), rows).await?;
    Ok(Json(Page::cut(rows, limit, |endpoint| endpoint.name.clone())))
}
