//! Fine-tunes: register, look; their versions and aliases below.

pub mod aliases;
pub mod delete;
pub mod put;
pub mod read;
pub mod versions;

use axum::http::HeaderValue;

use super::{
    AppState, etag,
    problem::{Found, Problem},
};
use crate::{
    contract::ids::TenantId,
    service::{database::fine_tunes, domain::registry::fine_tunes::FineTune},
};

/// The tenant's fine-tune.
///
/// # Errors
/// 404 where the tenant has none of this name.
async fn load(state: &AppState, tenant: TenantId, name: &str) -> Result<FineTune, Problem> {
    let found = fine_tunes::get(&state.database, tenant, name).await?;
    found.found("fine-tune")
}

fn tag(fine_tune: &FineTune) -> HeaderValue {
    etag::of_revision(fine_tune.revision)
}
