//! `GET /v1/base_models/{name}/aliases/{alias}` and its history, `moves`.

use axum::{Json, extract::State, http::HeaderMap, response::Response};

use crate::service::{
    api::{
        AppState,
        authentication::Reader,
        etag,
        extract::{QueryPairs, TwoNames},
        page::{Cut, Page, PageQuery},
        problem::{Found, Missing, Problem, QueryRefusals, Refusals},
    },
    database::base_models::aliases::{
        self,
        moves::{self, NamedAlias},
    },
    domain::registry::base_models::{BaseAlias, BaseAliasMove},
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
pub async fn get(
    State(state): State<AppState>,
    Reader(caller): Reader,
    TwoNames(name, alias): TwoNames,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = aliases::get(&state.database, caller.tenant, &name, &alias).await?;
    etag::show(&headers, &found.found("alias")?)
}

/// List where an alias of a base model has stood, newest first.
#[utoipa::path(
    get,
    path = "/v1/base_models/{name}/aliases/{alias}/moves",
    tag = "base_models",
    operation_id = "list_base_model_alias_moves",
    params(
        ("name" = String, Path, description = "The base model"),
        ("alias" = String, Path, description = "The alias"),
        PageQuery,
    ),
    responses(
        (status = 200, body = Page<BaseAliasMove>),
        Missing,
        QueryRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn moves(
    State(state): State<AppState>,
    Reader(caller): Reader,
    TwoNames(name, alias): TwoNames,
    QueryPairs(query): QueryPairs,
) -> Result<Json<Page<BaseAliasMove>>, Problem> {
    let cut = Cut::alone(query)?;
    let (database, tenant) = (&state.database, caller.tenant);
    let found = aliases::get(database, tenant, &name, &alias).await?;
    found.found("alias")?;
    let of = NamedAlias {
        model: &name,
        alias: &alias,
    };
    let rows = moves::list(database, tenant, of, cut.after(), cut.rows()).await?;
    Ok(cut.page(rows))
}
