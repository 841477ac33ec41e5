//! `GET /v1/base_models` and `GET /v1/base_models/{name}`.

use axum::{Json, extract::State, http::HeaderMap, response::Response};

use crate::service::{
    api::{
        AppState,
        authentication::Reader,
        etag,
        extract::{Name, QueryPairs},
        page::{Cut, Page, PageQuery},
        problem::{Missing, Problem, QueryRefusals, Refusals},
    },
    database::base_models,
    domain::registry::base_models::BaseModel,
};

/// List base models, newest first.
#[utoipa::path(
    get,
    path = "/v1/base_models",
    tag = "base_models",
    operation_id = "list_base_models",
    params(
        PageQuery,
    ),
    responses(
        (status = 200, body = Page<BaseModel>),
        QueryRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn list(
    State(state): State<AppState>,
    Reader(caller): Reader,
    QueryPairs(query): QueryPairs,
) -> Result<Json<Page<BaseModel>>, Problem> {
    let cut = Cut::alone(query)?;
    let rows = base_models::list(&state.database, caller.tenant, cut.after(), cut.rows()).await?;
    Ok(cut.page(rows))
}

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
pub async fn get(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Name(name): Name,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    etag::show(&headers, &super::load(&state, caller.tenant, &name).await?)
}
