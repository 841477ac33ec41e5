//! What is written and locked where an attempt ends, within a transaction of a use case.

use std::time::Duration;

use sqlx::PgConnection;

use super::{Claimed, VERSION};
use crate::{
    contract::ids::{BaseVersionId, FineTuneId, RetuneId, TenantId, TransferId, WorkerId},
    pipeline::Outcome,
    service::{
        database::{Database, enum_labels},
        domain::{
            leases::Lease,
            registry::retunes::Reason,
            transfers::{JobError, Status},
        },
    },
};

/// What a transfer that has succeeded was for.
pub(in crate::service) struct Recorded {
    /// Whether it has a gate.
    pub gated: bool,
    pub tenant: TenantId,
    pub retune: Option<RetuneId>,
    pub fine_tune: Option<FineTuneId>,
    pub base_version: Option<BaseVersionId>,
    /// The occasion of its retune.
    pub reason: Option<Reason>,
}

/// Records the result; `None` when the lease is lost.
pub(in crate::service) async fn record_result(
    connection: &mut PgConnection,
    held: &Lease<Claimed>,
    outcome: &Outcome,
) -> Result<Option<Recorded>, sqlx::Error> {
    let row = sqlx::query!(
        r#"UPDATE transfers
           SET status = 'succeeded', finished_at = now(), lease_token = NULL, lease_expires_at = NULL,
               phase = NULL, progress_done = NULL, progress_total = NULL, progress_unit = NULL,
               estimated_finish = NULL, error_code = NULL, error_detail = NULL, error_pointer = NULL,
               unreadable_since = NULL,
               staged_uri = NULL, result_uri = $3, manifest_sha256 = $4, verdict = $5::text::transfer_verdict,
               recommendation = $6::text::transfer_recommendation, metrics = $7,
               result_bytes = $8
           WHERE id = $1 AND lease_token = $2 AND status IN ('running', 'cancelling')
           RETURNING coalesce(jsonb_typeof(spec -> 'gate') = 'object', false) AS "gated!",
                     tenant, retune, fine_tune, base_version,
                     (SELECT r.reason FROM retunes r WHERE r.id = transfers.retune) AS "reason: Reason""#,
        held.transfer.0,
        held.token.0,
        outcome.uri,
        outcome.manifest_sha256,
        enum_labels::label(&outcome.verdict),
        outcome.recommendation.as_ref().map(enum_labels::label),
        outcome.metrics,
        i64::try_from(outcome.bytes).unwrap_or(i64::MAX),
    )
    .fetch_optional(connection)
    .await?;

    Ok(row.map(|row| Recorded {
        gated: row.gated,
        tenant: row.tenant.into(),
        retune: row.retune.map(RetuneId),
        fine_tune: row.fine_tune.map(FineTuneId),
        base_version: row.base_version.map(BaseVersionId),
        reason: row.reason,
    }))
}

/// A transfer whose lease is ours and whose row is locked.
pub(in crate::service) struct Held {
    pub status: Status,
    pub attempt: i32,
    pub max_attempts: i32,
    /// For how long it has waited for a worker that can read its specification.
    pub unreadable_seconds: Option<f64>,
}

impl Held {
    /// Whether it has waited for so long for a worker that can read its specification.
    pub fn is_unreadable_since(&self, longest: Duration) -> bool {
        self.unreadable_seconds
            .is_some_and(|waited| waited >= longest.as_secs_f64())
    }
}

/// Locks the row if the lease is still ours.
pub(in crate::service) async fn lock_held(
    connection: &mut PgConnection,
    held: &Lease<Claimed>,
) -> Result<Option<Held>, sqlx::Error> {
    sqlx::query_as!(
        Held,
        r#"SELECT status AS "status: Status", attempt, max_attempts,
                  extract(epoch FROM now() - unreadable_since)::double precision AS unreadable_seconds
           FROM transfers
           WHERE id = $1 AND lease_token = $2 AND status IN ('running', 'cancelling')
           FOR UPDATE"#,
        held.transfer.0,
        held.token.0,
    )
    .fetch_optional(connection)
    .await
}

/// Makes an attempt that was broken off not count.
pub(in crate::service) async fn uncount_attempt(
    connection: &mut PgConnection,
    held: &Lease<Claimed>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE transfers SET attempt = attempt - 1 WHERE id = $1",
        held.transfer.0
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that this version of the program cannot read the specification, since so many seconds; the
/// attempt does not count.
pub(in crate::service) async fn mark_unreadable(
    connection: &mut PgConnection,
    held: &Lease<Claimed>,
    seconds: f64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE transfers
             SET attempt = attempt - 1, unreadable_to = $2,
                 unreadable_since = now() - make_interval(secs => $3)
             WHERE id = $1",
        held.transfer.0,
        VERSION,
        seconds,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends a worker's leases at once; how many it held.
pub(in crate::service) async fn expire(
    database: &Database,
    worker: WorkerId,
) -> Result<u64, sqlx::Error> {
    let expired = sqlx::query!(
        "UPDATE transfers
         SET available_at = available_at + (now() - lease_expires_at), lease_expires_at = now()
         WHERE worker = $1 AND status IN ('running', 'cancelling') AND lease_expires_at > now()",
        worker.0
    )
    .execute(&database.pool)
    .await?;

    Ok(expired.rows_affected())
}

/// A transfer whose lease has run out and whose row is locked.
pub(in crate::service) struct Expired {
    pub id: TransferId,
    pub status: Status,
    pub attempt: i32,
    pub max_attempts: i32,
}

/// Locks transfers whose lease has run out, but for those that somebody else holds.
pub(in crate::service) async fn lock_expired(
    connection: &mut PgConnection,
) -> Result<Vec<Expired>, sqlx::Error> {
    sqlx::query_as!(
        Expired,
        r#"SELECT id, status AS "status: Status", attempt, max_attempts FROM transfers
           WHERE status IN ('running', 'cancelling') AND lease_expires_at <= now()
           ORDER BY lease_expires_at LIMIT 100
           FOR UPDATE SKIP LOCKED"#
    )
    .fetch_all(connection)
    .await
}

/// A transfer that no worker can read, and why, whose row is locked.
pub(in crate::service) struct Unreadable {
    pub id: TransferId,
    pub error: JobError,
}

/// Locks transfers that have waited for `longest` for a worker that can read their specification.
pub(in crate::service) async fn lock_unreadable(
    connection: &mut PgConnection,
    longest: Duration,
) -> Result<Vec<Unreadable>, sqlx::Error> {
    let late = sqlx::query!(
        r#"SELECT id, coalesce(error_code, 'invalid_spec') AS "code!",
                  coalesce(error_detail, 'no worker can read the specification') AS "detail!",
                  error_pointer AS pointer
           FROM transfers
           WHERE unreadable_since <= now() - make_interval(secs => $1) AND status = 'queued'
           ORDER BY unreadable_since LIMIT 100
           FOR UPDATE SKIP LOCKED"#,
        longest.as_secs_f64(),
    )
    .fetch_all(connection)
    .await?;

    let unreadable = late.into_iter().map(|row| Unreadable {
        id: row.id.into(),
        error: JobError {
            code: row.code,
            detail: row.detail,
            pointer: row.pointer,
        },
    });

    Ok(unreadable.collect())
}
