//! `GET /v1/retunes/{id}`.

use axum::{extract::State, http::HeaderMap, response::Response};

use crate::{
    contract::ids::RetuneId,
    service::{
        api::{
            AppState,
            authentication::Reader,
            etag,
            extract::Id,
            problem::{Missing, Problem, Refusals},
        },
        database::retunes,
        domain::registry::retunes::Retune,
    },
};

/// Show a retune. Its transfers: `GET /v1/transfers?retune={id}`.
#[utoipa::path(
    get,
    path = "/v1/retunes/{id}",
    tag = "retunes",
    operation_id = "get_retune",
    params(
        ("id" = Uuid, Path, description = "The retune"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` seen last"),
    ),
    responses(
        (status = 200, body = Retune, headers(("ETag" = String))),
        (status = 304, description = "Unchanged"),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Id(id): Id<RetuneId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = retunes::get(&state.database, caller.tenant, id).await?;
    etag::show(&headers, &found.ok_or_else(|| Problem::not_found("retune"))?)
}
