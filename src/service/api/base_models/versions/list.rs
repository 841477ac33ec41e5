//! `GET /v1/base_models/{name}/versions`: a page of versions, newest arrival first.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Reader,
        extract::{Name, QueryPairs},
        page::{Cut, Page, PageQuery},
        problem::{Missing, Problem, QueryRefusals, Refusals},
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
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Name(name): Name,
    QueryPairs(query): QueryPairs,
) -> Result<Json<Page<BaseVersion>>, Problem> {
    let cut = Cut::alone(query)?;
    super::super::load(&state, caller.tenant, &name).await?;
    let rows =
        versions::list(&state.database, caller.tenant, &name, cut.after(), cut.rows()).await?;
    Ok(Json(Page::cut(rows, cut.limit, |version| version.id.to_string())))
}
