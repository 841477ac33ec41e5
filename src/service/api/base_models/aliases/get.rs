//! `GET /v1/base_models/{name}/aliases/{alias}`.

use axum::{extract::State, http::HeaderMap, response::Response};

use crate::service::{
    api::{
        AppState,
        authentication::Reader,
        etag,
        extract::TwoNames,
        problem::{Missing, Problem, Refusals},
    },
    database::base_models::aliases,
    domain::registry::base_models::BaseAlias,
};

/// Show where an alias of a base model stands.
#[utoipa::path(
    get,
    path = "/v1/base_models/{name}/aliases/{alias}",
    tag = "base_models",
    operation_id = "get_base_model_alias",
    params(
        ("name" = String, Path, description = "The base model"),
        ("alias" = String, Path, description = "The alias"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` seen last"),
    ),
    responses(
        (status = 200, body = BaseAlias, headers(("ETag" = String))),
        (status = 304, description = "Unchanged"),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
    TwoNames(name, alias): TwoNames,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = aliases::get(&state.database, caller.tenant, &name, &alias).await?;
    etag::show(&headers, &found.ok_or_else(|| Problem::not_found("alias"))?)
}
