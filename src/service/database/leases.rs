//! Transfers as workers see them: claim, beat, finish; and the sweep for workers that died.
//!
//! A claim draws a lease token. Every later write names it and must change one row; if it changes
//! none the lease is lost, somebody else may be at work, and the caller drops what it has. Attempts
//! are counted when claimed, so that one that takes its process down is counted too.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Database, events, names};
use crate::{
    pipeline::{Outcome, Phase, Verdict},
    service::jobs::{JobError, Status},
};

/// A claimed transfer: the right to write to it until the lease ends.
#[derive(Clone, Debug)]
pub struct Lease {
    pub transfer: Uuid,
    pub token: Uuid,
    /// This attempt's number, from 1.
    pub attempt: i32,
    pub spec: Value,
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

/// What a heartbeat hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    GoOn,
    /// Somebody wants the transfer cancelled.
    Cancel,
    /// The lease is not ours any more.
    Lost,
}

/// What became of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    QueuedAgain,
    Failed,
    Cancelled,
}

/// How long leases last, and how long to wait between attempts.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub lease: Duration,
    /// Before the second attempt; doubled for each further one.
    pub backoff: Duration,
}

impl Terms {
    /// The wait after the given attempt failed, at most an hour.
    fn backoff_after(self, attempt: i32) -> f64 {
        let doublings = attempt.clamp(1, 12) - 1;
        (self.backoff.as_secs_f64() * 2_f64.powi(doublings)).min(3600.0)
    }
}

/// Takes the transfer that has waited longest, or one whose lease ran out; `None` when there is
/// nothing to do. An attempt that died is followed at once by the second, later ones wait.
///
/// # Errors
/// From the database.
pub async fn claim(
    database: &Database,
    worker: Uuid,
    terms: Terms,
) -> Result<Option<Lease>, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    let claimed = sqlx::query!(
        r#"WITH next AS (
               SELECT id FROM transfers
               WHERE status IN ('queued', 'running') AND available_at <= now()
                 AND attempt < max_attempts
               ORDER BY available_at, id
               LIMIT 1
               FOR UPDATE SKIP LOCKED
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
           RETURNING t.id, t.lease_token AS "token!", t.attempt, t.spec"#,
        worker,
        terms.lease.as_secs_f64(),
        terms.backoff.as_secs_f64(),
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(row) = claimed else { return Ok(None) };
    let data = json!({"attempt": row.attempt, "worker": worker});
    events::insert(&mut transaction, row.id, "transfer.started", data).await?;
    transaction.commit().await?;
    Ok(Some(Lease { transfer: row.id, token: row.token, attempt: row.attempt, spec: row.spec }))
}

/// Prolongs the lease by `lease` from now, stores the progress, and hears whether to go on.
///
/// # Errors
/// From the database; the lease then still runs, and may run out.
pub async fn beat(
    database: &Database,
    held: &Lease,
    lease: Duration,
    report: &Report,
) -> Result<Heard, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    let phase = report.phase.as_ref().map(names::label);
    let (done, total, unit) = match report.progress {
        Some((done, total, unit)) => (Some(done), Some(total), Some(unit)),
        None => (None, None, None),
    };
    // `before` is locked by the update itself: only the holder of the token changes the phase.
    let row = sqlx::query!(
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
        held.transfer,
        held.token,
        lease.as_secs_f64(),
        phase,
        done,
        total,
        unit,
        report.seconds_left,
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(row) = row else { return Ok(Heard::Lost) };
    if row.phase_changed {
        let data = json!({"attempt": held.attempt, "phase": phase});
        events::insert(&mut transaction, held.transfer, "transfer.phase_changed", data).await?;
    }
    transaction.commit().await?;
    Ok(if row.status == Status::Cancelling { Heard::Cancel } else { Heard::GoOn })
}

/// Records the result; false when the lease is lost and the result is not ours to record. A wish to
/// cancel that came too late is dropped: the result is there.
///
/// # Errors
/// From the database.
pub async fn succeed(
    database: &Database,
    held: &Lease,
    outcome: &Outcome,
) -> Result<bool, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    let row = sqlx::query!(
        r#"UPDATE transfers
           SET status = 'succeeded', finished_at = now(), lease_token = NULL, lease_expires_at = NULL,
               phase = NULL, progress_done = NULL, progress_total = NULL, progress_unit = NULL,
               estimated_finish = NULL, error_code = NULL, error_detail = NULL, error_pointer = NULL,
               result_uri = $3, manifest_sha256 = $4, verdict = $5::text::transfer_verdict,
               recommendation = $6::text::transfer_recommendation, metrics = $7
           WHERE id = $1 AND lease_token = $2 AND status IN ('running', 'cancelling')
           RETURNING coalesce(jsonb_typeof(spec -> 'gate') = 'object', false) AS "gated!""#,
        held.transfer,
        held.token,
        outcome.uri,
        outcome.manifest_sha256,
        names::label(&outcome.verdict),
        outcome.recommendation.as_ref().map(names::label),
        outcome.metrics,
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(row) = row else { return Ok(false) };
    if row.gated {
        let kind = match outcome.verdict {
            Verdict::Published => "gate.passed",
            Verdict::Rejected => "gate.failed",
        };
        events::insert(&mut transaction, held.transfer, kind, json!({})).await?;
    }
    let data = json!({
        "attempt": held.attempt, "verdict": outcome.verdict,
        "recommendation": outcome.recommendation, "uri": outcome.uri,
    });
    events::insert(&mut transaction, held.transfer, "transfer.succeeded", data).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Ends a failed attempt: queued again when another may help and is left, failed otherwise, and
/// cancelled when that was wished. `None` when the lease is lost.
///
/// # Errors
/// From the database.
pub async fn fail(
    database: &Database,
    held: &Lease,
    error: &JobError,
    may_retry: bool,
    terms: Terms,
) -> Result<Option<AfterFailure>, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    let Some(row) = lock_held(&mut transaction, held).await? else { return Ok(None) };
    let after = if row.status == Status::Cancelling {
        to_cancelled(&mut transaction, held.transfer).await?;
        AfterFailure::Cancelled
    } else if may_retry && row.attempt < row.max_attempts {
        let wait = terms.backoff_after(row.attempt);
        to_queued(&mut transaction, held.transfer, wait, "attempt_failed", Some(error)).await?;
        AfterFailure::QueuedAgain
    } else {
        to_failed(&mut transaction, held.transfer, error).await?;
        AfterFailure::Failed
    };
    transaction.commit().await?;
    Ok(Some(after))
}

/// Ends a transfer whose cancellation the worker has obeyed; false when the lease is lost.
///
/// # Errors
/// From the database.
pub async fn cancelled(database: &Database, held: &Lease) -> Result<bool, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    if lock_held(&mut transaction, held).await?.is_none() {
        return Ok(false);
    }
    to_cancelled(&mut transaction, held.transfer).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Gives an unfinished transfer back without costing it an attempt; false when the lease is lost.
///
/// # Errors
/// From the database.
pub async fn hand_back(database: &Database, held: &Lease) -> Result<bool, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    let Some(row) = lock_held(&mut transaction, held).await? else { return Ok(false) };
    if row.status == Status::Cancelling {
        to_cancelled(&mut transaction, held.transfer).await?;
    } else {
        sqlx::query!("UPDATE transfers SET attempt = attempt - 1 WHERE id = $1", held.transfer)
            .execute(&mut *transaction)
            .await?;
        to_queued(&mut transaction, held.transfer, 0.0, "handed_back", None).await?;
    }
    transaction.commit().await?;
    Ok(true)
}

/// Ends the leases of a worker known to be dead at once, and sweeps; how many it held.
///
/// # Errors
/// From the database.
pub async fn release(database: &Database, worker: Uuid, terms: Terms) -> Result<u64, sqlx::Error> {
    let released = sqlx::query!(
        "UPDATE transfers
         SET available_at = available_at + (now() - lease_expires_at), lease_expires_at = now()
         WHERE worker = $1 AND status IN ('running', 'cancelling') AND lease_expires_at > now()",
        worker
    )
    .execute(&database.pool)
    .await?
    .rows_affected();
    if released > 0 {
        sweep(database, terms).await?;
    }
    Ok(released)
}

/// Tidies up after workers that died: expired leases are queued again, failed when their attempts
/// are used up, cancelled when that was wished. Returns how many there were.
///
/// # Errors
/// From the database.
pub async fn sweep(database: &Database, terms: Terms) -> Result<usize, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    let expired = sqlx::query!(
        r#"SELECT id, status AS "status: Status", attempt, max_attempts FROM transfers
           WHERE status IN ('running', 'cancelling') AND lease_expires_at <= now()
           ORDER BY lease_expires_at LIMIT 100
           FOR UPDATE SKIP LOCKED"#
    )
    .fetch_all(&mut *transaction)
    .await?;
    for row in &expired {
        if row.status == Status::Cancelling {
            to_cancelled(&mut transaction, row.id).await?;
        } else if row.attempt >= row.max_attempts {
            let error = JobError {
                code: "attempts_exhausted".into(),
                detail: format!(
                    "{} attempts ended without a word from the worker; it ran out of memory, \
                     crashed or was cut off",
                    row.attempt
                ),
                pointer: None,
            };
            to_failed(&mut transaction, row.id, &error).await?;
        } else {
            let wait = if row.attempt == 1 { 0.0 } else { terms.backoff_after(row.attempt) };
            to_queued(&mut transaction, row.id, wait, "lease_expired", None).await?;
        }
    }
    transaction.commit().await?;
    Ok(expired.len())
}

struct Held {
    status: Status,
    attempt: i32,
    max_attempts: i32,
}

/// Locks the row if the lease is still ours.
async fn lock_held(
    connection: &mut PgConnection,
    held: &Lease,
) -> Result<Option<Held>, sqlx::Error> {
    sqlx::query_as!(
        Held,
        r#"SELECT status AS "status: Status", attempt, max_attempts FROM transfers
           WHERE id = $1 AND lease_token = $2 AND status IN ('running', 'cancelling')
           FOR UPDATE"#,
        held.transfer,
        held.token,
    )
    .fetch_optional(connection)
    .await
}

/// The caller holds the row's lock, here and below.
async fn to_queued(
    connection: &mut PgConnection,
    id: Uuid,
    wait_seconds: f64,
    reason: &str,
    error: Option<&JobError>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE transfers
         SET status = 'queued', available_at = now() + make_interval(secs => $2),
             lease_token = NULL, lease_expires_at = NULL, phase = NULL, progress_done = NULL,
             progress_total = NULL, progress_unit = NULL, estimated_finish = NULL,
             error_code = $3, error_detail = $4, error_pointer = $5
         WHERE id = $1",
        id,
        wait_seconds,
        error.map(|error| &*error.code),
        error.map(|error| &*error.detail),
        error.and_then(|error| error.pointer.as_deref()),
    )
    .execute(&mut *connection)
    .await?;
    let data = json!({"reason": reason, "error": error});
    events::insert(connection, id, "transfer.queued", data).await
}

async fn to_failed(
    connection: &mut PgConnection,
    id: Uuid,
    error: &JobError,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE transfers
         SET status = 'failed', finished_at = now(), lease_token = NULL, lease_expires_at = NULL,
             phase = NULL, progress_done = NULL, progress_total = NULL, progress_unit = NULL,
             estimated_finish = NULL, error_code = $2, error_detail = $3, error_pointer = $4
         WHERE id = $1",
        id,
        error.code,
        error.detail,
        error.pointer,
    )
    .execute(&mut *connection)
    .await?;
    events::insert(connection, id, "transfer.failed", json!({"error": error})).await
}

async fn to_cancelled(connection: &mut PgConnection, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE transfers
         SET status = 'cancelled', finished_at = now(), lease_token = NULL, lease_expires_at = NULL,
             phase = NULL, progress_done = NULL, progress_total = NULL, progress_unit = NULL,
             estimated_finish = NULL
         WHERE id = $1",
        id
    )
    .execute(&mut *connection)
    .await?;
    events::insert(connection, id, "transfer.cancelled", json!({})).await
}
