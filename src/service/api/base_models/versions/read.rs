//! `GET /v1/base_models/{name}/versions` and `GET /v1/base_models/{name}/versions/{version}`.

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
    database::base_models::versions,
    domain::registry::base_models::BaseVersion,
};

/// List the versions of a base model, newest arrival first.
#[utoipa::path(
    get,
    path = "/v1/base_models/{name}/versions",
    tag = "base_models",
    operation_id = "list_base_model_versions",
    params(
        ("name" = String, Path, description = "The base model"),
        PageQuery,
    ),
    responses(
        (status = 200, body = Page<BaseVersion>),
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
) -> Result<Json<Page<BaseVersion>>, Problem> {
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
pub async fn get(
    State(state): State<AppState>,
    Reader(caller): Reader,
    TwoNames(name, version): TwoNames,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = versions::get(&state.database, caller.tenant, &name, &version).await?;
    etag::show(&headers, &found.found("version")?)
}
