//! `GET /v1/webhook_endpoints` and `GET /v1/webhook_endpoints/{name}`.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::{Name, QueryPairs},
        page::{Cut, Page, PageQuery},
        problem::{Found, Missing, Problem, QueryRefusals, Refusals},
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
pub async fn list(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    QueryPairs(query): QueryPairs,
) -> Result<Json<Page<Endpoint>>, Problem> {
    let cut = Cut::alone(query)?;
    let rows =
        webhook_endpoints::list(&state.database, caller.tenant, cut.after(), cut.rows()).await?;
    Ok(cut.page(rows))
}

/// Show an endpoint. Its secret is not in it.
#[utoipa::path(
    get,
    path = "/v1/webhook_endpoints/{name}",
    tag = "webhook_endpoints",
    operation_id = "get_webhook_endpoint",
    params(("name" = String, Path, description = "The endpoint")),
    responses(
        (status = 200, body = Endpoint),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn get(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    Name(name): Name,
) -> Result<Json<Endpoint>, Problem> {
    let endpoint = webhook_endpoints::get(&state.database, caller.tenant, &name).await?;
    endpoint.map(Json).found("endpoint")
}
