//! `GET /v1/fine_tunes/{name}/versions` and `GET /v1/fine_tunes/{name}/versions/{version}`.

use axum::{Json, extract::State, http::HeaderMap, response::Response};

use crate::service::{
    api::{
        AppState,
        authentication::Reader,
        etag,
        extract::{Name, QueryPairs, TwoNames},
        page::{Cut, Page, PageQuery},
        problem::{Found, Missing, Problem, QueryRefusals, Refusals},
    },
    database::fine_tunes::versions,
    domain::registry::fine_tunes::FineTuneVersion,
};

/// List the versions of a fine-tune, newest first.
#[utoipa::path(
    get,
    path = "/v1/fine_tunes/{name}/versions",
    tag = "fine_tunes",
    operation_id = "list_fine_tune_versions",
    params(
        ("name" = String, Path, description = "The fine-tune"),
        PageQuery,
    ),
    responses(
        (status = 200, body = Page<FineTuneVersion>),
        Missing,
        QueryRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn list(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Name(name): Name,
    QueryPairs(query): QueryPairs,
) -> Result<Json<Page<FineTuneVersion>>, Problem> {
    let cut = Cut::alone(query)?;
    super::super::load(&state, caller.tenant, &name).await?;
    let rows = versions::list(
        &state.database,
        caller.tenant,
        &name,
        cut.after(),
        cut.rows(),
    )
    .await?;
    Ok(cut.page(rows))
}

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
pub async fn get(
    State(state): State<AppState>,
    Reader(caller): Reader,
    TwoNames(name, version): TwoNames,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let number = super::number(&version)?;
    let found = versions::get(&state.database, caller.tenant, &name, number).await?;
    etag::show(&headers, &found.found("version")?)
}
