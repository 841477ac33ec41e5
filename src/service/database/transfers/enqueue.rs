//! Transfers are queued, once per idempotency key, within a transaction of a use case.

use serde_json::Value;
use sqlx::PgConnection;

use crate::{
    contract::ids::{TenantId, TransferId},
    service::database::idempotency::Idempotency,
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

/// Queues a transfer; `None` where there is one of this idempotency key.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn insert(
    connection: &mut PgConnection,
    new: &Enqueue,
) -> Result<Option<TransferId>, sqlx::Error> {
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
    .execute(connection)
    .await?;

    Ok((inserted.rows_affected() == 1).then_some(id))
}

/// A transfer that an earlier request has made.
pub(in crate::service) struct Earlier {
    pub id: TransferId,
    pub request_sha256: Option<Vec<u8>>,
}

/// The transfer of an idempotency key, which there is.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn find_by_key(
    connection: &mut PgConnection,
    tenant: TenantId,
    key: Option<&str>,
) -> Result<Earlier, sqlx::Error> {
    sqlx::query_as!(
        Earlier,
        "SELECT id, request_sha256 FROM transfers WHERE tenant = $1 AND idempotency_key = $2",
        tenant.0,
        key,
    )
    .fetch_one(connection)
    .await
}
