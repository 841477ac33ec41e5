//! How an attempt ends, under its lease token.

use std::time::Duration;

use serde_json::json;
use sqlx::PgConnection;

use super::{
    Lease, Terms, VERSION,
    moves::{to_cancelled, to_failed, to_queued},
};
use crate::{
    contract::{
        events::EventKind,
        ids::{BaseVersionId, RetuneId},
    },
    pipeline::{Outcome, Verdict},
    service::{
        database::{
            Database, events,
            fine_tunes::versions::{self, Delivery},
            names, retunes,
        },
        domain::{
            registry::retunes::Reason,
            transfers::{JobError, Status},
        },
    },
};

/// What became of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    QueuedAgain,
    Failed,
    Cancelled,
}

/// Records the result, with the fine-tune's version that it makes; false when the lease is lost and
/// the result is not ours to record. A wish to cancel that came too late is dropped: the result is
/// there.
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
               unreadable_since = NULL,
               result_uri = $3, manifest_sha256 = $4, verdict = $5::text::transfer_verdict,
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
        names::label(&outcome.verdict),
        outcome.recommendation.as_ref().map(names::label),
        outcome.metrics,
        i64::try_from(outcome.bytes).unwrap_or(i64::MAX),
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(row) = row else { return Ok(false) };
    if row.gated {
        let kind = match outcome.verdict {
            Verdict::Published => EventKind::GatePassed,
            Verdict::Rejected => EventKind::GateFailed,
        };
        events::insert(&mut transaction, held.transfer, kind, json!({})).await?;
    }
    let data = json!({
        "attempt": held.attempt, "verdict": outcome.verdict,
        "recommendation": outcome.recommendation, "uri": outcome.uri,
    });
    events::insert(&mut transaction, held.transfer, EventKind::TransferSucceeded, data).await?;
    if let Some(fine_tune) = row.fine_tune {
        let delivery = Delivery {
            transfer: held.transfer,
            tenant: row.tenant.into(),
            fine_tune: fine_tune.into(),
            base_version: row.base_version.map(BaseVersionId),
            reason: row.reason,
            spec: &held.spec,
            outcome,
        };
        versions::deliver(&mut transaction, &delivery).await?;
    }
    retunes::settle(&mut transaction, row.retune.map(RetuneId)).await?;
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
    let (after, retune) = if row.status == Status::Cancelling {
        (AfterFailure::Cancelled, to_cancelled(&mut transaction, held.transfer).await?)
    } else if may_retry && row.attempt < row.max_attempts {
        let wait = terms.backoff_after(row.attempt);
        let reason = "attempt_failed";
        let retune = to_queued(&mut transaction, held.transfer, wait, reason, Some(error)).await?;
        (AfterFailure::QueuedAgain, retune)
    } else {
        (AfterFailure::Failed, to_failed(&mut transaction, held.transfer, error).await?)
    };
    retunes::settle(&mut transaction, retune).await?;
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
    let retune = to_cancelled(&mut transaction, held.transfer).await?;
    retunes::settle(&mut transaction, retune).await?;
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
    let retune = if row.status == Status::Cancelling {
        to_cancelled(&mut transaction, held.transfer).await?
    } else {
        sqlx::query!("UPDATE transfers SET attempt = attempt - 1 WHERE id = $1", held.transfer.0)
            .execute(&mut *transaction)
            .await?;
        to_queued(&mut transaction, held.transfer, 0.0, "handed_back", None).await?
    };
    retunes::settle(&mut transaction, retune).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Leaves a transfer whose specification this program cannot read to workers of other versions, without costing
/// it an attempt; failed when it has waited for one of them for `patience`. `None` when the lease is lost.
///
/// # Errors
/// From the database.
pub async fn decline(
    database: &Database,
    held: &Lease,
    error: &JobError,
    patience: Duration,
    terms: Terms,
) -> Result<Option<AfterFailure>, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    let Some(row) = lock_held(&mut transaction, held).await? else { return Ok(None) };
    let late = row.unreadable_seconds.is_some_and(|waited| waited >= patience.as_secs_f64());
    let (after, retune) = if row.status == Status::Cancelling {
        (AfterFailure::Cancelled, to_cancelled(&mut transaction, held.transfer).await?)
    } else if late {
        (AfterFailure::Failed, to_failed(&mut transaction, held.transfer, error).await?)
    } else {
        let (wait, reason) = (terms.backoff_after(1), "not_understood");
        let retune = to_queued(&mut transaction, held.transfer, wait, reason, Some(error)).await?;
        sqlx::query!(
            "UPDATE transfers
             SET attempt = attempt - 1, unreadable_to = $2,
                 unreadable_since = now() - make_interval(secs => $3)
             WHERE id = $1",
            held.transfer.0,
            VERSION,
            row.unreadable_seconds.unwrap_or(0.0),
        )
        .execute(&mut *transaction)
        .await?;
        (AfterFailure::QueuedAgain, retune)
    };
    retunes::settle(&mut transaction, retune).await?;
    transaction.commit().await?;
    Ok(Some(after))
}

struct Held {
    status: Status,
    attempt: i32,
    max_attempts: i32,
    /// For how long it has waited for a worker that can read its specification.
    unreadable_seconds: Option<f64>,
}

/// Locks the row if the lease is still ours.
async fn lock_held(
    connection: &mut PgConnection,
    held: &Lease,
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
