//! A transfer is submitted: once per idempotency key and within the tenant's quotas.

use crate::{
    config,
    contract::events::AuditAction,
    service::{
        database::{
            Database, audit_events, quotas,
            transfers::{Enqueue, EnqueueError, Enqueued, enqueue_in},
        },
        domain::access::Caller,
    },
};

/// Queues a transfer that somebody asked for.
///
/// # Errors
/// [`EnqueueError::KeyReused`] when the key came with another request before, and
/// [`EnqueueError::QuotaExceeded`].
pub async fn submit(
    database: &Database,
    caller: impl Into<Caller>,
    new: Enqueue,
    quotas: &config::Quotas,
) -> Result<Enqueued, EnqueueError> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    let enqueued = enqueue_in(&mut scope, new).await?;
    if enqueued.replayed {
        return Ok(enqueued);
    }
    if let Some(exceeded) = quotas::check(&mut scope, caller.tenant, quotas).await? {
        return Err(exceeded.into());
    }

    let subject = format!("transfers/{}", enqueued.transfer.id);
    audit_events::record(&mut scope, caller, AuditAction::TransferSubmit, &subject).await?;
    scope.commit().await?;

    Ok(enqueued)
}
