//! A transfer is submitted: once per idempotency key and within the tenant's quotas.

use serde_json::json;
use sqlx::PgConnection;

use crate::{
    config,
    contract::events::{AuditAction, EventKind, QueuedReason},
    service::{
        database::{
            Database, audit_events, events,
            idempotency::KeyReused,
            quotas::{self, QuotaExceeded},
            transfers::{self, Enqueue},
        },
        domain::{access::Caller, transfers::Transfer},
    },
};

/// The transfer of a submission, `replayed` when an earlier request had made it.
#[derive(Clone, Debug)]
pub struct Enqueued {
    pub transfer: Transfer,
    pub replayed: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    #[error(transparent)]
    KeyReused(#[from] KeyReused),
    #[error(transparent)]
    QuotaExceeded(#[from] QuotaExceeded),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

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
    let enqueued = insert(&mut scope, new).await?;
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

/// Queues a transfer that nobody asked for: no quota is looked at, and nothing audited.
///
/// # Errors
/// [`EnqueueError::KeyReused`] when the key came with another request before.
pub async fn enqueue(database: &Database, new: Enqueue) -> Result<Enqueued, EnqueueError> {
    let mut scope = database.scope(new.tenant).await?;
    let enqueued = insert(&mut scope, new).await?;
    scope.commit().await?;
    Ok(enqueued)
}

async fn insert(connection: &mut PgConnection, new: Enqueue) -> Result<Enqueued, EnqueueError> {
    let Some(id) = transfers::insert(connection, &new).await? else {
        return replayed(connection, new).await;
    };

    let data = json!({"reason": QueuedReason::Submitted});
    events::insert(connection, id, EventKind::TransferQueued, data).await?;

    Ok(Enqueued {
        transfer: transfers::by_id(connection, id).await?,
        replayed: false,
    })
}

/// The transfer that an earlier request with this key has made.
async fn replayed(connection: &mut PgConnection, new: Enqueue) -> Result<Enqueued, EnqueueError> {
    let key = new
        .idempotency
        .as_ref()
        .map(|idempotency| &*idempotency.key);
    let earlier = transfers::find_by_key(connection, new.tenant, key).await?;
    if let Some(idempotency) = &new.idempotency {
        idempotency.check(earlier.request_sha256.as_deref())?;
    }

    Ok(Enqueued {
        transfer: transfers::by_id(connection, earlier.id).await?,
        replayed: true,
    })
}
