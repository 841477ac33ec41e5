//! `GET /v1/base_models/{name}`.

use axum::{extract::State, http::HeaderMap, response::Response};

use crate::service::{
    api::{
        AppState,
        authentication::Reader,
        etag,
        extract::Name,
        problem::{Missing, Problem, Refusals},
    },
    domain::registry::base_models::BaseModel,
};

/// Show a base model.
#[utoipa::path(
    get,
    path = "/v1/base_models/{name}",
    tag = "base_models",
    operation_id = "get_base_model",
    params(
        ("name" = String, Path, description = "The base model"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` seen last"),
    ),
    responses(
        (status = 200, body = BaseModel, headers(("ETag" = String))),
        (status = 304, description = "Unchanged"),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Name(name): Name,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    etag::show(&headers, &super::load(&state, caller.tenant, &name).await?)
}
