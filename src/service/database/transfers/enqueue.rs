//! Transfers are queued, once per idempotency key.

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{Database, by_id};
use crate::{
    contract::{
        events::{EventKind, QueuedReason},
        ids::{TenantId, TransferId},
    },
    service::{
        database::{
            events,
            idempotency::{Idempotency, KeyReused},
            quotas::QuotaExceeded,
        },
        domain::transfers::Transfer,
    },
};

/// A transfer to be queued.
#[derive(Clone, Debug)]
pub struct Enqueue {
    pub tenant: TenantId,
    /// A checked `Spec`, as JSON.
    pub spec: Value,
    /// An object of strings.
    pub metadata: Value,
    pub idempotency: Option<Idempotency>,
    pub max_attempts: i32,
}

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

/// Queues a transfer, once per idempotency key.
///
/// # Errors
/// [`EnqueueError::KeyReused`] when the key came with another request before.
pub async fn enqueue(database: &Database, new: Enqueue) -> Result<Enqueued, EnqueueError> {
    let mut scope = database.scope(new.tenant).await?;
    let enqueued = enqueue_in(&mut scope, new).await?;
    scope.commit().await?;
    Ok(enqueued)
}

/// The same within a transaction that has entered the tenant.
///
/// # Errors
/// As [`enqueue`].
pub(in crate::service) async fn enqueue_in(
    connection: &mut PgConnection,
    new: Enqueue,
) -> Result<Enqueued, EnqueueError> {
    let id = TransferId::generate();
    let (key, sha256) = match &new.idempotency {
        Some(idempotency) => (
            Some(&*idempotency.key),
            Some(&idempotency.request_sha256[..]),
        ),
        None => (None, None),
    };

    // A concurrent request with this key makes us wait for its commit, then insert nothing.
    let inserted = sqlx::query!(
        "INSERT INTO transfers (id, tenant, spec, metadata, idempotency_key, request_sha256, max_attempts)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (tenant, idempotency_key) DO NOTHING",
        id.0,
        new.tenant.0,
        new.spec,
        new.metadata,
        key,
        sha256,
        new.max_attempts,
    )
    .execute(&mut *connection)
    .await?;
    if inserted.rows_affected() == 1 {
        events::insert(
            connection,
            id,
            EventKind::TransferQueued,
            json!({"reason": QueuedReason::Submitted}),
        )
        .await?;
        let transfer = by_id(connection, id).await?;
        return Ok(Enqueued {
            transfer,
            replayed: false,
        });
    }

    let earlier = sqlx::query!(
        "SELECT id, request_sha256 FROM transfers WHERE tenant = $1 AND idempotency_key = $2",
        new.tenant.0,
        key,
    )
    .fetch_one(&mut *connection)
    .await?;
    if let Some(idempotency) = &new.idempotency {
        idempotency.check(earlier.request_sha256.as_deref())?;
    }
    let transfer = by_id(connection, earlier.id.into()).await?;

    Ok(Enqueued {
        transfer,
        replayed: true,
    })
}
