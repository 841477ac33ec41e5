//! `GET /v1/fine_tunes/{name}/versions`: a page of versions, newest first.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Reader,
        extract::{Name, QueryPairs},
        page::{Cut, Page, PageQuery},
        problem::{Missing, Problem, QueryRefusals, Refusals},
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
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Name(name): Name,
    QueryPairs(query): QueryPairs,
) -> Result<Json<Page<FineTuneVersion>>, Problem> {
    let cut = Cut::alone(query)?;
    super::super::load(&state, caller.tenant, &name).await?;
    let rows =
        versions::list(&state.database, caller.tenant, &name, cut.after(), cut.rows()).await?;
    Ok(Json(Page::cut(rows, cut.limit, |version| version.id.to_string())))
}
