//! `GET /v1/base_models/{name}/versions/{version}`.

use axum::{extract::State, http::HeaderMap, response::Response};

use crate::service::{
    api::{
        AppState,
        authentication::Reader,
        etag,
        extract::TwoNames,
        problem::{Missing, Problem, Refusals},
    },
    database::base_models::versions,
    domain::registry::base_models::BaseVersion,
};

/// Show a version of a base model.
#[utoipa::path(
    get,
    path = "/v1/base_models/{name}/versions/{version}",
    tag = "base_models",
    operation_id = "get_base_model_version",
    params(
        ("name" = String, Path, description = "The base model"),
        ("version" = String, Path, description = "The version"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` seen last"),
    ),
    responses(
        (status = 200, body = BaseVersion, headers(("ETag" = String))),
        (status = 304, description = "Unchanged"),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
    TwoNames(name, version): TwoNames,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = versions::get(&state.database, caller.tenant, &name, &version).await?;
    etag::show(&headers, &found.ok_or_else(|| Problem::not_found("version"))?)
}
