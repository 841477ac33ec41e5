//! Transfers as workers see them: claim and beat, within a transaction of a use case (`registry::attempts`).
//!
//! Attempts are counted when claimed, so that one that takes its process down is counted too.

pub(in crate::service) mod attempt_ends;
pub(in crate::service) mod times;
pub(in crate::service) mod transitions;

use std::time::Duration;

use serde_json::Value;
use sqlx::PgConnection;

use crate::{
    contract::ids::{LeaseToken, RetuneId, TenantId, TransferId, WorkerId},
    pipeline::Phase,
    service::{
        database::enum_labels,
        domain::{
            leases::{Lease, RetryPolicy},
            transfers::Status,
        },
    },
};

/// A claimed transfer: everything that one attempt needs.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub transfer: TransferId,
    pub tenant: TenantId,
    /// This attempt's number, from 1.
    pub attempt: i32,
    pub spec: Value,
    /// What the external gate says of the result that an earlier attempt has staged.
    pub evaluation: Option<Value>,
    /// For how long it had been due when it was claimed.
    pub waited: Duration,
}

/// What a heartbeat reports.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub phase: Option<Phase>,
    /// Done, total, unit.
    pub progress: Option<(i64, i64, &'static str)>,
    /// Until the phase ends at its present pace.
    pub seconds_left: Option<f64>,
}

/// What says which specifications this program can read.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A transfer that was taken.
pub(in crate::service) struct Taken {
    pub entry: Claimed,
    pub token: LeaseToken,
    /// The retune that it belongs to.
    pub retune: Option<RetuneId>,
}

/// Takes a transfer that waits, or one whose lease ran out; `None` when there is nothing to do. The tenant with
/// the fewest at work is served first, and among those the one that was served longest ago; of a tenant's, the
/// one that has waited longest. An attempt that died is followed at once by the second, later ones wait.
///
/// # Errors
/// From the database.
#[expect(clippy::too_many_lines, reason = "one statement")]
pub(in crate::service) async fn claim(
    connection: &mut PgConnection,
    worker: WorkerId,
    policy: RetryPolicy,
) -> Result<Option<Taken>, sqlx::Error> {
    // When the lease has run out, the next attempt waits as `RetryPolicy::wait_after` says: told once more in SQL,
    // for how many attempts a row has had is known only to the statement that takes it. A test compares both.
    //
    // From tenant to tenant by the index: what it costs depends on how many tenants have something to do, not on
    // how much that is. Only the row that is taken is locked, and the worker's own, which is not waited for: whoever
    // locks it wakes this worker, and may want the transfer.
    let claimed = sqlx::query!(
        r#"WITH RECURSIVE waiting AS (
               (SELECT tenant FROM transfers
                WHERE status IN ('queued', 'running') AND NOT held
                ORDER BY tenant LIMIT 1)
               UNION ALL
               SELECT further.tenant FROM waiting w CROSS JOIN LATERAL (
                   SELECT t.tenant FROM transfers t
                   WHERE t.status IN ('queued', 'running') AND NOT t.held AND t.tenant > w.tenant
                   ORDER BY t.tenant LIMIT 1
               ) AS further
           ), turns AS (
               SELECT w.tenant, row_number() OVER (ORDER BY
                   (SELECT count(*) FROM transfers t
                    WHERE t.tenant = w.tenant AND t.status IN ('running', 'cancelling')),
                   (SELECT max(t.started_at) FROM transfers t
                    WHERE t.tenant = w.tenant AND t.started_at IS NOT NULL) NULLS FIRST,
                   (SELECT min(t.available_at) FROM transfers t
                    WHERE t.tenant = w.tenant AND t.status IN ('queued', 'running') AND NOT t.held)
               ) AS turn
               FROM waiting w
           ), next AS (
               SELECT mine.id, mine.available_at
               FROM (SELECT tenant, turn FROM turns ORDER BY turn) AS t CROSS JOIN LATERAL (
                   SELECT id, available_at FROM transfers
                   WHERE status IN ('queued', 'running') AND NOT held AND tenant = t.tenant
                     AND available_at <= now() AND attempt < max_attempts
                     AND unreadable_to IS DISTINCT FROM $4
                   ORDER BY available_at, id
                   LIMIT 1
                   FOR UPDATE SKIP LOCKED
               ) AS mine
               ORDER BY t.turn
               LIMIT 1
           ), at_work AS (
               UPDATE workers SET waiting_since = NULL
               WHERE id = (SELECT id FROM workers
                           WHERE id = $1 AND waiting_since IS NOT NULL AND EXISTS (SELECT FROM next)
                           FOR UPDATE SKIP LOCKED)
           )
           UPDATE transfers t
           SET status = 'running', worker = $1, lease_token = gen_random_uuid(),
               attempt = t.attempt + 1, started_at = now(),
               lease_expires_at = now() + make_interval(secs => $2),
               available_at = now() + make_interval(secs => $2 + CASE WHEN t.attempt = 0 THEN 0
                                  ELSE least($3 * 2 ^ least(t.attempt, 11), 3600) END),
               phase = NULL, progress_done = NULL, progress_total = NULL, progress_unit = NULL,
               estimated_finish = NULL
           FROM next WHERE t.id = next.id
           RETURNING t.id, t.tenant, t.lease_token AS "token!", t.attempt, t.spec, t.retune, t.evaluation,
                     extract(epoch FROM now() - next.available_at)::double precision AS "waited!""#,
        worker.0,
        policy.lease.as_secs_f64(),
        policy.backoff.as_secs_f64(),
        VERSION,
    )
    .fetch_optional(connection)
    .await?;

    Ok(claimed.map(|row| Taken {
        entry: Claimed {
            transfer: row.id.into(),
            tenant: row.tenant.into(),
            attempt: row.attempt,
            spec: row.spec,
            evaluation: row.evaluation,
            waited: Duration::try_from_secs_f64(row.waited).unwrap_or_default(),
        },
        token: row.token.into(),
        retune: row.retune.map(RetuneId),
    }))
}

/// A transfer after its heartbeat.
pub(in crate::service) struct Beaten {
    pub status: Status,
    pub phase_changed: bool,
}

/// Renews the lease by `lease` from now and stores the progress; `None` when the lease is lost.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn beat(
    connection: &mut PgConnection,
    held: &Lease<Claimed>,
    lease: Duration,
    report: &Report,
) -> Result<Option<Beaten>, sqlx::Error> {
    let phase = report.phase.as_ref().map(enum_labels::label);
    let (done, total, unit) = match report.progress {
        Some((done, total, unit)) => (Some(done), Some(total), Some(unit)),
        None => (None, None, None),
    };

    // `before` is locked by the update itself: only the holder of the token changes the phase.
    sqlx::query_as!(
        Beaten,
        r#"WITH before AS (SELECT phase FROM transfers WHERE id = $1)
           UPDATE transfers t
           SET lease_expires_at = now() + make_interval(secs => $3),
               available_at = t.available_at
                   + (now() + make_interval(secs => $3) - t.lease_expires_at),
               phase = $4::text::transfer_phase, progress_done = $5, progress_total = $6,
               progress_unit = $7, estimated_finish = now() + make_interval(secs => $8)
           FROM before
           WHERE t.id = $1 AND t.lease_token = $2 AND t.status IN ('running', 'cancelling')
           RETURNING t.status AS "status: Status",
                     t.phase IS DISTINCT FROM before.phase AS "phase_changed!""#,
        held.transfer.0,
        held.token.0,
        lease.as_secs_f64(),
        phase,
        done,
        total,
        unit,
        report.seconds_left,
    )
    .fetch_optional(connection)
    .await
}
