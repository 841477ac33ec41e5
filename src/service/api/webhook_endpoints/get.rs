//! `GET /v1/webhook_endpoints/{name}`.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::Name,
        problem::{Missing, Problem, Refusals},
    },
    database::webhook_endpoints,
    domain::events::Endpoint,
};

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
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    Name(name): Name,
) -> Result<Json<Endpoint>, Problem> {
    let endpoint = webhook_endpoints::get(&state.database, caller.tenant, &name).await?;
    endpoint.map(Json).ok_or_else(|| Problem::not_found("endpoint"))
}
