//! Base models: register, look; their versions and aliases below.

pub mod aliases;
pub mod arrivals;
pub mod delete;
pub mod inbound_tokens;
pub mod put;
pub mod read;
pub mod versions;

use super::{
    AppState,
    problem::{Found, Problem},
};
use crate::{
    contract::ids::TenantId,
    service::{database::base_models, domain::registry::base_models::BaseModel},
};

/// The tenant's base model.
///
/// # Errors
/// 404 where the tenant has none of this name.
async fn load(state: &AppState, tenant: TenantId, name: &str) -> Result<BaseModel, Problem> {
    let model = base_models::get(&state.database, tenant, name).await?;
    model.found("base model")
}
