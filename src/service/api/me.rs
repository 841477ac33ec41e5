//! `GET /v1/me`: who calls.

use axum::{Json, extract::State};

use super::{
    AppState,
    authentication::Reader,
    problem::{Found, Problem, Refusals},
};
use crate::service::{database::me, domain::access::Me};

/// Show who calls: the tenant, the key and its role.
#[utoipa::path(
    get,
    path = "/v1/me",
    tag = "api_keys",
    operation_id = "me",
    responses((status = 200, body = Me), Refusals),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
) -> Result<Json<Me>, Problem> {
    let me = me::get(&state.database, caller).await?.found("tenant")?;
    let own = state.settings.storage.tenant_roots.get(&caller.tenant.0);
    let roots = own
        .cloned()
        .unwrap_or_else(|| state.settings.storage_roots());
    Ok(Json(Me { roots, ..me }))
}
