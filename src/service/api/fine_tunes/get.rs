//! `GET /v1/fine_tunes/{name}`.

use axum::{extract::State, http::HeaderMap, response::Response};

use crate::service::{
    api::{
        AppState,
        authentication::Reader,
        etag,
        extract::Name,
        problem::{Missing, Problem, Refusals},
    },
    domain::registry::fine_tunes::FineTune,
};

/// Show a fine-tune.
#[utoipa::path(
    get,
    path = "/v1/fine_tunes/{name}",
    tag = "fine_tunes",
    operation_id = "get_fine_tune",
    params(
        ("name" = String, Path, description = "The fine-tune"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` seen last"),
    ),
    responses(
        (status = 200, body = FineTune, headers(("ETag" = String))),
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
    let fine_tune = super::load(&state, caller.tenant, &name).await?;
    etag::show_as(&headers, super::tag(&fine_tune), &fine_tune)
}
