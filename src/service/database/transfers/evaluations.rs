//! Results that wait for the judgement of another program, within a transaction of a use case.

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::leases::Claimed;
use crate::{
    contract::ids::{RetuneId, TenantId, TransferId},
    pipeline::Outcome,
    service::{
        database::enum_labels,
        domain::{leases::Lease, transfers::Status},
    },
};

/// A transfer whose result is staged.
pub(in crate::service) struct Staged {
    pub deadline: OffsetDateTime,
    pub retune: Option<RetuneId>,
}

/// Ends the lease of a transfer whose result waits from now on, for so many hours. The caller holds the row's lock
/// and has seen that the lease is ours.
pub(in crate::service) async fn stage(
    connection: &mut PgConnection,
    held: &Lease<Claimed>,
    outcome: &Outcome,
    hours: f64,
) -> Result<Staged, sqlx::Error> {
    let row = sqlx::query!(
        r#"UPDATE transfers
           SET status = 'awaiting_evaluation', lease_token = NULL, lease_expires_at = NULL,
               phase = NULL, progress_done = NULL, progress_total = NULL, progress_unit = NULL,
               estimated_finish = NULL, error_code = NULL, error_detail = NULL, error_pointer = NULL,
               unreadable_since = NULL, staged_uri = $2,
               evaluation_deadline = now() + make_interval(secs => 3600 * $3::double precision),
               recommendation = $4::text::transfer_recommendation, metrics = $5
           WHERE id = $1
           RETURNING evaluation_deadline AS "deadline!", retune"#,
        held.transfer.0,
        outcome.uri,
        hours,
        outcome.recommendation.as_ref().map(enum_labels::label),
        outcome.metrics,
    )
    .fetch_one(connection)
    .await?;

    Ok(Staged {
        deadline: row.deadline,
        retune: row.retune.map(RetuneId),
    })
}

/// A transfer whose row is locked, as far as an evaluation is concerned.
pub(in crate::service) struct Locked {
    pub status: Status,
    /// Of its external gate, if it has one.
    pub gate: Option<String>,
    /// Something has been said before.
    pub is_evaluated: bool,
    /// And it is the same.
    pub is_same: bool,
}

/// Locks a tenant's transfer, if it has one with this id, and compares what was said of it with what is said now: as
/// jsonb does, for which 100 and 1e2 are one number.
pub(in crate::service) async fn lock(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: TransferId,
    said: &Value,
) -> Result<Option<Locked>, sqlx::Error> {
    sqlx::query_as!(
        Locked,
        r#"SELECT status AS "status: Status", spec #>> '{gate,external,name}' AS gate,
                  evaluation IS NOT NULL AS "is_evaluated!",
                  coalesce(evaluation = $3, false) AS "is_same!"
           FROM transfers WHERE id = $1 AND tenant = $2 FOR UPDATE"#,
        id.0,
        tenant.0,
        said,
    )
    .fetch_optional(connection)
    .await
}

/// Queues a transfer that has waited for an evaluation, with all its attempts before it; the retune that it belongs
/// to.
pub(in crate::service) async fn record(
    connection: &mut PgConnection,
    id: TransferId,
    evaluation: &Value,
) -> Result<Option<RetuneId>, sqlx::Error> {
    let retune = sqlx::query_scalar!(
        "UPDATE transfers
         SET status = 'queued', available_at = now(), attempt = 0,
             evaluation = $2, evaluated_at = now()
         WHERE id = $1 RETURNING retune",
        id.0,
        evaluation,
    )
    .fetch_one(connection)
    .await?;

    Ok(retune.map(RetuneId))
}

/// A transfer for whose evaluation nobody waits any more, whose row is locked.
pub(in crate::service) struct Overdue {
    pub id: TransferId,
    /// Of its external gate.
    pub gate: String,
}

/// Locks transfers whose deadline is past, but for those that somebody else holds.
pub(in crate::service) async fn lock_overdue(
    connection: &mut PgConnection,
) -> Result<Vec<Overdue>, sqlx::Error> {
    sqlx::query_as!(
        Overdue,
        r#"SELECT id, coalesce(spec #>> '{gate,external,name}', '') AS "gate!" FROM transfers
           WHERE status = 'awaiting_evaluation' AND evaluation_deadline <= now()
           ORDER BY id LIMIT 100
           FOR UPDATE SKIP LOCKED"#
    )
    .fetch_all(connection)
    .await
}
