//! `GET /v1/fine_tunes/{name}/aliases/{alias}` and its history, `moves`.

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
    database::fine_tunes::aliases::{
        self,
        moves::{self, NamedAlias},
    },
    domain::registry::fine_tunes::{FineTuneAlias, FineTuneAliasMove},
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
pub async fn get(
    State(state): State<AppState>,
    Reader(caller): Reader,
    TwoNames(name, alias): TwoNames,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = aliases::get(&state.database, caller.tenant, &name, &alias).await?;
    etag::show(&headers, &found.found("alias")?)
}

/// List where an alias of a fine-tune has stood, newest first.
#[utoipa::path(
    get,
    path = "/v1/fine_tunes/{name}/aliases/{alias}/moves",
    tag = "fine_tunes",
    operation_id = "list_fine_tune_alias_moves",
    params(
        ("name" = String, Path, description = "The fine-tune"),
        ("alias" = String, Path, description = "The alias, mostly `production`"),
        PageQuery,
    ),
    responses(
        (status = 200, body = Page<FineTuneAliasMove>),
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
) -> Result<Json<Page<FineTuneAliasMove>>, Problem> {
    let cut = Cut::alone(query)?;
    let (database, tenant) = (&state.database, caller.tenant);
    let found = aliases::get(database, tenant, &name, &alias).await?;
    found.found("alias")?;
    let of = NamedAlias {
        fine_tune: &name,
        alias: &alias,
    };
    let rows = moves::list(database, tenant, of, cut.after(), cut.rows()).await?;
    Ok(cut.page(rows))
}
