//! `GET /v1/fine_tunes/{name}/aliases/{alias}`: what consumers ask for.

use axum::{extract::State, http::HeaderMap, response::Response};

use crate::service::{
    api::{
        AppState,
        authentication::Reader,
        etag,
        extract::TwoNames,
        problem::{Problem, Refusals},
    },
    database::fine_tunes::aliases,
    domain::registry::fine_tunes::FineTuneAlias,
};

/// Show the version that an alias of a fine-tune stands on.
#[utoipa::path(
    get,
    path = "/v1/fine_tunes/{name}/aliases/{alias}",
    tag = "fine_tunes",
    operation_id = "get_fine_tune_alias",
    params(
        ("name" = String, Path, description = "The fine-tune"),
        ("alias" = String, Path, description = "The alias, mostly `production`"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` seen last"),
    ),
    responses(
        (status = 200, body = FineTuneAlias, headers(("ETag" = String))),
        (status = 304, description = "Unchanged"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no version was promoted to it yet"),
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
