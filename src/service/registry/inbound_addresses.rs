//! Addresses for notifications are made and withdrawn.

use crate::{
    contract::{events::AuditAction, ids::InboundTokenId},
    service::{
        database::{
            Database, audit_events,
            inbound_tokens::{self, NewInbound, listings},
        },
        domain::access::Caller,
    },
};

/// Makes an address for a tenant's base model; `None` where it has none of this name. A folder that is
/// listed from time to time is so at once.
///
/// # Errors
/// From the database.
pub async fn create(
    database: &Database,
    caller: impl Into<Caller>,
    new: &NewInbound<'_>,
) -> Result<Option<InboundTokenId>, sqlx::Error> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    let inserted = inbound_tokens::insert(&mut scope, caller.tenant, new).await?;
    let Some(id) = inserted else { return Ok(None) };

    let (action, subject) = (AuditAction::InboundTokenCreate, subject(new.base_model, id));
    audit_events::record(&mut scope, caller, action, &subject).await?;
    if new.poll_seconds.is_some() {
        listings::notify(&mut scope).await?;
    }
    scope.commit().await?;

    Ok(Some(id))
}

/// Withdraws an address; false where there is none.
///
/// # Errors
/// From the database.
pub async fn delete(
    database: &Database,
    caller: impl Into<Caller>,
    base_model: &str,
    id: InboundTokenId,
) -> Result<bool, sqlx::Error> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    if !inbound_tokens::delete(&mut scope, caller.tenant, base_model, id).await? {
        return Ok(false);
    }

    let (action, subject) = (AuditAction::InboundTokenDelete, subject(base_model, id));
    audit_events::record(&mut scope, caller, action, &subject).await?;
    scope.commit().await?;

    Ok(true)
}

fn subject(base_model: &str, id: InboundTokenId) -> String {
    format!("base_models/{base_model}/inbound_tokens/{id}")
}
