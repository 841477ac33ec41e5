//! `GET /v1/fine_tunes/{name}/versions/{version}`.

use axum::{extract::State, http::HeaderMap, response::Response};

use crate::service::{
    api::{
        AppState,
        authentication::Reader,
        etag,
        extract::TwoNames,
        problem::{Missing, Problem, Refusals},
    },
    database::fine_tunes::versions,
    domain::registry::fine_tunes::FineTuneVersion,
};

/// Show a version of a fine-tune.
#[utoipa::path(
    get,
    path = "/v1/fine_tunes/{name}/versions/{version}",
    tag = "fine_tunes",
    operation_id = "get_fine_tune_version",
    params(
        ("name" = String, Path, description = "The fine-tune"),
        ("version" = i32, Path, description = "The version's number"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` seen last"),
    ),
    responses(
        (status = 200, body = FineTuneVersion, headers(("ETag" = String))),
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
    let number = super::number(&version)?;
    let found = versions::get(&state.database, caller.tenant, &name, number).await?;
    etag::show(&headers, &found.ok_or_else(|| Problem::not_found("version"))?)
}
