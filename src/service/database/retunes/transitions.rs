//! How rows of retunes are made and changed, within a transaction of a use case.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    contract::ids::{BaseVersionId, RetuneId, TenantId},
    service::{
        database::idempotency::Idempotency,
        domain::registry::{
            occasions::{Occasion, Target},
            retunes::{Reason, RetuneStatus},
        },
    },
};

/// Writes the row of a retune that begins; its id.
pub(in crate::service) async fn insert(
    connection: &mut PgConnection,
    occasion: &Occasion,
    target: Option<&Target>,
) -> Result<RetuneId, sqlx::Error> {
    let id = RetuneId::generate();
    sqlx::query!(
        "INSERT INTO retunes
             (id, tenant, reason, base_model, base_version, max_concurrent, max_compute_seconds)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        id.0,
        occasion.tenant.0,
        occasion.reason as Reason,
        target.map(|target| Uuid::from(target.base_model)),
        target.map(|target| Uuid::from(target.id)),
        occasion.limits.max_concurrent,
        occasion.limits.max_compute_seconds,
    )
    .execute(connection)
    .await?;

    Ok(id)
}

/// Removes a retune that carries nobody.
pub(in crate::service) async fn delete(
    connection: &mut PgConnection,
    id: RetuneId,
) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM retunes WHERE id = $1", id.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// The retune of an earlier request.
pub(in crate::service) struct Earlier {
    pub id: RetuneId,
    pub request_sha256: Option<Vec<u8>>,
}

/// The retune that a request under this key has begun.
pub(in crate::service) async fn of_request(
    connection: &mut PgConnection,
    tenant: TenantId,
    key: &str,
) -> Result<Option<Earlier>, sqlx::Error> {
    sqlx::query_as!(
        Earlier,
        "SELECT id, request_sha256 FROM retunes WHERE tenant = $1 AND idempotency_key = $2",
        tenant.0,
        key,
    )
    .fetch_optional(connection)
    .await
}

/// Notes which request has begun a retune.
pub(in crate::service) async fn remember_request(
    connection: &mut PgConnection,
    id: RetuneId,
    request: &Idempotency,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE retunes SET idempotency_key = $2, request_sha256 = $3 WHERE id = $1",
        id.0,
        request.key,
        &request.request_sha256[..],
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Locks a retune that is there; whose it is.
pub(in crate::service) async fn lock(
    connection: &mut PgConnection,
    id: RetuneId,
) -> Result<TenantId, sqlx::Error> {
    let tenant = sqlx::query_scalar!(
        "SELECT tenant FROM retunes WHERE id = $1 FOR NO KEY UPDATE",
        id.0
    )
    .fetch_one(connection)
    .await?;

    Ok(tenant.into())
}

/// Locks a tenant's retune, if it has one with this id; its status.
pub(in crate::service) async fn lock_of(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: RetuneId,
) -> Result<Option<RetuneStatus>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT status AS "status: RetuneStatus" FROM retunes
           WHERE id = $1 AND tenant = $2 FOR NO KEY UPDATE"#,
        id.0,
        tenant.0,
    )
    .fetch_optional(connection)
    .await
}

/// Notes that a transfer of a waiting retune has begun.
pub(in crate::service) async fn mark_running(
    connection: &mut PgConnection,
    id: RetuneId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE retunes SET status = 'running', started_at = coalesce(started_at, now())
             WHERE id = $1 AND status = 'queued'",
        id.0
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes the status that follows from the transfers.
pub(in crate::service) async fn set_status(
    connection: &mut PgConnection,
    id: RetuneId,
    status: RetuneStatus,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE retunes SET status = $2, finished_at = CASE WHEN $3 THEN now() END WHERE id = $1",
        id.0,
        status as RetuneStatus,
        status.is_final(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Pauses a retune.
pub(in crate::service) async fn pause(
    connection: &mut PgConnection,
    id: RetuneId,
) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE retunes SET status = 'paused' WHERE id = $1", id.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Ends the pause of a retune, if it is paused.
pub(in crate::service) async fn resume(
    connection: &mut PgConnection,
    id: RetuneId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE retunes SET status = 'running' WHERE id = $1 AND status = 'paused'",
        id.0
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes retunes forget the versions that they are about.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn forget_base_versions(
    connection: &mut PgConnection,
    ids: &[BaseVersionId],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE retunes SET base_model = NULL, base_version = NULL WHERE base_version = ANY ($1)",
        ids as &[BaseVersionId]
    )
    .execute(connection)
    .await?;
    Ok(())
}
