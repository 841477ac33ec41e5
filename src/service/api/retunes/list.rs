//! `GET /v1/retunes`: a page of retunes, newest first.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Reader,
        extract::QueryPairs,
        page::{Cut, Page, PageQuery},
        problem::{Problem, QueryRefusals, Refusals},
    },
    database::retunes::{self, ListFilter},
    domain::registry::retunes::{Retune, RetuneStatus},
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
pub async fn handle(
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
    let filter = ListFilter { after: cut.after(), limit: cut.rows(), ..filter };
    let rows = retunes::list(&state.database, caller.tenant, &filter).await?;
    Ok(Json(Page::cut(rows, cut.limit, |retune| retune.id.to_string())))
}

fn status(text: &str) -> Result<RetuneStatus, Problem> {
    serde_json::from_value(text.into()).map_err(|_| {
        let detail =
            "one of queued, running, paused, succeeded, partially_succeeded, failed, cancelled";
        Problem::invalid_query("status", detail)
    })
}
