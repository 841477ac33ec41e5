//! `GET /v1/base_models/{name}/inbound_tokens`: a page of addresses, newest first.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::{Name, QueryPairs},
        page::{Cut, Page},
        problem::{Problem, Refusals},
    },
    database::inbound_tokens,
    retuning::inbound::InboundToken,
};

/// List the addresses for notifications, newest first; their tokens are not shown.
#[utoipa::path(
    get,
    path = "/v1/base_models/{name}/inbound_tokens",
    tag = "base_models",
    operation_id = "list_inbound_tokens",
    params(
        ("name" = String, Path, description = "The base model"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 200, description = "Rows a page, 50 by default"),
        ("after" = Option<Uuid>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, body = Page<InboundToken>),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`invalid_query`"),
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    Name(name): Name,
    QueryPairs(query): QueryPairs,
) -> Result<Json<Page<InboundToken>>, Problem> {
    let cut = Cut::alone(query)?;
    super::super::load(&state, caller.tenant, &name).await?;
    let of = (caller.tenant, name.as_str());
    let rows = inbound_tokens::list(&state.database, of.0, of.1, cut.after, cut.rows()).await?;
    Ok(Json(Page::cut(rows, cut.limit, |address| address.id.to_string())))
}
