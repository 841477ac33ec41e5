//! `GET /v1/retunes` and `GET /v1/retunes/{id}`.

use axum::{Json, extract::State, http::HeaderMap, response::Response};

use crate::{
    contract::ids::RetuneId,
    service::{
        api::{
            AppState,
            authentication::Reader,
            etag,
            extract::{Id, QueryPairs},
            page::{Cut, Page, PageQuery},
            problem::{Found, Missing, Problem, QueryRefusals, Refusals},
        },
        database::retunes::{self, ListFilter},
        domain::registry::retunes::{Retune, RetuneStatus},
    },
};

/// List retunes, newest first.
#[utoipa::path(
    get,
    path = "/v1/retunes",
    tag = "retunes",
    operation_id = "list_retunes",
    params(
        ("status" = Option<RetuneStatus>, Query, description = "Only those of this status"),
        ("base_model" = Option<String>, Query, description = "Only those onto versions of this base model"),
        PageQuery,
    ),
    responses(
        (status = 200, body = Page<Retune>),
        QueryRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn list(
    State(state): State<AppState>,
    Reader(caller): Reader,
    QueryPairs(query): QueryPairs,
) -> Result<Json<Page<Retune>>, Problem> {
    let mut filter = ListFilter::default();
    let cut = Cut::read(query, |name, value| {
        match name {
            "status" => filter.status = Some(status(&value)?),
            "base_model" => filter.base_model = Some(value),
            _ => return Ok(false),
        }
        Ok(true)
    })?;

    let filter = ListFilter {
        after: cut.after(),
        limit: cut.rows(),
        ..filter
    };
    let rows = retunes::list(&state.database, caller.tenant, &filter).await?;

    Ok(cut.page(rows))
}

fn status(text: &str) -> Result<RetuneStatus, Problem> {
    serde_json::from_value(text.into()).map_err(|_| {
        let detail =
            "one of queued, running, paused, succeeded, partially_succeeded, failed, cancelled";
        Problem::invalid_query("status", detail)
    })
}

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
pub async fn get(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Id(id): Id<RetuneId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = retunes::get(&state.database, caller.tenant, id).await?;
    etag::show(&headers, &found.found("retune")?)
}
