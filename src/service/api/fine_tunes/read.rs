//! `GET /v1/fine_tunes` and `GET /v1/fine_tunes/{name}`.

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
    database::fine_tunes,
    domain::registry::fine_tunes::FineTune,
};

/// List fine-tunes, newest first.
#[utoipa::path(
    get,
    path = "/v1/fine_tunes",
    tag = "fine_tunes",
    operation_id = "list_fine_tunes",
    params(
        ("base_model" = Option<String>, Query, description = "Only those of this base model"),
        PageQuery,
    ),
    responses(
        (status = 200, body = Page<FineTune>),
        QueryRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn list(
    State(state): State<AppState>,
    Reader(caller): Reader,
    QueryPairs(query): QueryPairs,
) -> Result<Json<Page<FineTune>>, Problem> {
    let mut base_model = None;
    let cut = Cut::read(query, |name, value| {
        base_model = Some(value);
        Ok(name == "base_model")
    })?;

    let base_model = base_model.as_deref();
    let (after, rows) = (cut.after(), cut.rows());
    let rows = fine_tunes::list(&state.database, caller.tenant, base_model, after, rows).await?;

    Ok(cut.page(rows))
}

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
pub async fn get(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Name(name): Name,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let fine_tune = super::load(&state, caller.tenant, &name).await?;
    etag::show_as(&headers, super::tag(&fine_tune), &fine_tune)
}
