//! `GET /v1/base_models/{name}/inbound_tokens`: a page of addresses, newest first.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::{Name, QueryPairs},
        page::{Cut, Page, PageQuery},
        problem::{Missing, Problem, QueryRefusals, Refusals},
    },
    database::inbound_tokens,
    domain::registry::inbound::InboundToken,
};

/// List the addresses for notifications, newest first; their tokens are not shown.
#[utoipa::path(
    get,
    path = "/v1/base_models/{name}/inbound_tokens",
    tag = "base_models",
    operation_id = "list_inbound_tokens",
    params(
        ("name" = String, Path, description = "The base model"),
        PageQuery,
    ),
    responses(
        (status = 200, body = Page<InboundToken>),
        Missing,
        QueryRefusals,
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
    let rows = inbound_tokens::list(&state.database, of.0, of.1, cut.after(), cut.rows()).await?;
    Ok(cut.page(rows))
}
