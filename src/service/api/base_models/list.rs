//! `GET /v1/base_models`: a page of base models, newest first.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Reader,
        extract::QueryPairs,
        page::{Cut, Page},
        problem::{Problem, Refusals},
    },
    database::base_models,
    retuning::base_models::BaseModel,
};

/// List base models, newest first.
#[utoipa::path(
    get,
    path = "/v1/base_models",
    tag = "base_models",
    operation_id = "list_base_models",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 200, description = "Rows a page, 50 by default"),
        ("after" = Option<Uuid>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, body = Page<BaseModel>),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`invalid_query`"),
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
    let rows = base_models::list(&state.database, caller.tenant, cut.after, cut.rows()).await?;
    Ok(Json(Page::cut(rows, cut.limit, |model| model.id.to_string())))
}
