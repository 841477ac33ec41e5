//! `GET /v1/base_models`: a page of base models, newest first.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Reader,
        extract::QueryPairs,
        page::{Cut, Page, PageQuery},
        problem::{Problem, QueryRefusals, Refusals},
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
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
    QueryPairs(query): QueryPairs,
) -> Result<Json<Page<BaseModel>>, Problem> {
    let cut = Cut::alone(query)?;
    let rows = base_models::list(&state.database, caller.tenant, cut.after(), cut.rows()).await?;
    Ok(Json(Page::cut(rows, cut.limit, |model| model.id.to_string())))
}
