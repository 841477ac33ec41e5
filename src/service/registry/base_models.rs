//! A base model is registered, or described anew.

use crate::{
    contract::events::AuditAction,
    service::{
        database::{
            Database, audit_events,
            base_models::{self, Description},
        },
        domain::{access::Caller, registry::base_models::BaseModel},
    },
};

/// Registers a base model, or describes it anew; true where it is new.
///
/// # Errors
/// From the database.
pub async fn put(
    database: &Database,
    caller: impl Into<Caller>,
    name: &str,
    new: &Description,
) -> Result<(BaseModel, bool), sqlx::Error> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    let (model, created) = base_models::put(&mut scope, caller.tenant, name, new).await?;

    let subject = format!("base_models/{name}");
    audit_events::record(&mut scope, caller, AuditAction::BaseModelPut, &subject).await?;
    scope.commit().await?;

    Ok((model, created))
}
