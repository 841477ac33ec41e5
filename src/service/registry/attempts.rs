//! How attempts at transfers end, under their lease tokens, and the sweep for workers that died. With
//! each end the transfer's retune is settled, in the same transaction.

use std::time::Duration;

use serde_json::json;
use sqlx::PgConnection;

use super::{
    deliver::{self, Delivery},
    ends::{to_cancelled, to_failed, to_queued},
    settle::settle,
};
use crate::{
    contract::{
        codes::FailureCode,
        events::{EventKind, QueuedReason},
        ids::{RetuneId, WorkerId},
    },
    pipeline::{Outcome, Verdict},
    service::{
        database::{
            Database, clock, events,
            leases::{
                Claimed,
                ends::{self, Expired, Held},
            },
        },
        domain::{
            leases::{Lease, RetryPolicy},
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
    held: &Lease<Claimed>,
    outcome: &Outcome,
) -> Result<bool, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    let recorded = ends::record_result(&mut transaction, held, outcome).await?;
    let Some(recorded) = recorded else {
        return Ok(false);
    };

    if recorded.gated {
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

    events::insert(
        &mut transaction,
        held.transfer,
        EventKind::TransferSucceeded,
        data,
    )
    .await?;

    if let Some(fine_tune) = recorded.fine_tune {
        let delivery = Delivery {
            transfer: held.transfer,
            tenant: recorded.tenant,
            fine_tune,
            base_version: recorded.base_version,
            reason: recorded.reason,
            spec: &held.spec,
            outcome,
        };
        deliver::deliver(&mut transaction, &delivery).await?;
    }

    settle(&mut transaction, recorded.retune).await?;
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
    held: &Lease<Claimed>,
    error: &JobError,
    may_retry: bool,
    policy: RetryPolicy,
) -> Result<Option<AfterFailure>, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    let Some(row) = ends::lock_held(&mut transaction, held).await? else {
        return Ok(None);
    };

    let (after, retune) = if row.status == Status::Cancelling {
        (
            AfterFailure::Cancelled,
            to_cancelled(&mut transaction, held.transfer).await?,
        )
    } else if may_retry && row.attempt < row.max_attempts {
        let wait = policy.wait_after(row.attempt);
        let reason = QueuedReason::AttemptFailed;
        let retune = to_queued(&mut transaction, held.transfer, wait, reason, Some(error)).await?;
        (AfterFailure::QueuedAgain, retune)
    } else {
        (
            AfterFailure::Failed,
            to_failed(&mut transaction, held.transfer, error).await?,
        )
    };

    settle(&mut transaction, retune).await?;
    transaction.commit().await?;

    Ok(Some(after))
}

/// Ends a transfer whose cancellation the worker has obeyed; false when the lease is lost.
///
/// # Errors
/// From the database.
pub async fn cancelled(database: &Database, held: &Lease<Claimed>) -> Result<bool, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    if ends::lock_held(&mut transaction, held).await?.is_none() {
        return Ok(false);
    }

    let retune = to_cancelled(&mut transaction, held.transfer).await?;
    settle(&mut transaction, retune).await?;
    transaction.commit().await?;

    Ok(true)
}

/// Gives an unfinished transfer back without costing it an attempt; false when the lease is lost.
///
/// # Errors
/// From the database.
pub async fn hand_back(database: &Database, held: &Lease<Claimed>) -> Result<bool, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    let Some(row) = ends::lock_held(&mut transaction, held).await? else {
        return Ok(false);
    };

    let retune = if row.status == Status::Cancelling {
        to_cancelled(&mut transaction, held.transfer).await?
    } else {
        ends::uncount_attempt(&mut transaction, held).await?;
        to_queued(
            &mut transaction,
            held.transfer,
            0.0,
            QueuedReason::HandedBack,
            None,
        )
        .await?
    };

    settle(&mut transaction, retune).await?;
    transaction.commit().await?;

    Ok(true)
}

/// Leaves a transfer whose specification this program cannot read to workers of other versions, without costing
/// it an attempt; failed when it has waited for one of them for as long as the policy goes on. `None` when the lease is lost.
///
/// # Errors
/// From the database.
pub async fn decline(
    database: &Database,
    held: &Lease<Claimed>,
    error: &JobError,
    policy: RetryPolicy,
) -> Result<Option<AfterFailure>, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    let Some(row) = ends::lock_held(&mut transaction, held).await? else {
        return Ok(None);
    };

    let (after, retune) = if row.status == Status::Cancelling {
        (
            AfterFailure::Cancelled,
            to_cancelled(&mut transaction, held.transfer).await?,
        )
    } else if row.is_unreadable_since(policy.give_up) {
        (
            AfterFailure::Failed,
            to_failed(&mut transaction, held.transfer, error).await?,
        )
    } else {
        let (wait, reason) = (policy.wait_after(1), QueuedReason::NotUnderstood);
        let retune = to_queued(&mut transaction, held.transfer, wait, reason, Some(error)).await?;
        let Held {
            unreadable_seconds, ..
        } = row;
        ends::mark_unreadable(&mut transaction, held, unreadable_seconds.unwrap_or(0.0)).await?;
        (AfterFailure::QueuedAgain, retune)
    };

    settle(&mut transaction, retune).await?;
    transaction.commit().await?;

    Ok(Some(after))
}

/// Ends the leases of a worker known to be dead at once, and sweeps; how many it held.
///
/// # Errors
/// From the database.
pub async fn release(
    database: &Database,
    worker: WorkerId,
    policy: RetryPolicy,
) -> Result<u64, sqlx::Error> {
    let released = ends::expire(database, worker).await?;
    if released > 0 {
        sweep(database, policy).await?;
    }

    Ok(released)
}

/// Tidies up after workers that died: expired leases are queued again, failed when their attempts
/// are used up, cancelled when that was wished. Returns how many there were.
///
/// # Errors
/// From the database.
pub async fn sweep(database: &Database, policy: RetryPolicy) -> Result<usize, sqlx::Error> {
    clock::tick(database, policy.lease).await?;
    let mut transaction = database.pool.begin().await?;
    let expired = ends::lock_expired(&mut transaction).await?;

    let mut members = Vec::new();
    for transfer in &expired {
        tracing::warn!(transfer = %transfer.id, attempt = transfer.attempt, "its lease had run out");
        members.extend(end_expired(&mut transaction, transfer, policy).await?);
    }

    settle(&mut transaction, members).await?;
    transaction.commit().await?;

    Ok(expired.len())
}

/// The retune of a transfer whose lease ran out.
async fn end_expired(
    connection: &mut PgConnection,
    expired: &Expired,
    policy: RetryPolicy,
) -> Result<Option<RetuneId>, sqlx::Error> {
    if expired.status == Status::Cancelling {
        return to_cancelled(connection, expired.id).await;
    }
    if expired.attempt >= expired.max_attempts {
        let error = JobError {
            code: FailureCode::AttemptsExhausted.name().into(),
            detail: format!(
                "{} attempts ended without a word from the worker; it ran out of memory, \
                 crashed or was cut off",
                expired.attempt
            ),
            pointer: None,
        };
        return to_failed(connection, expired.id, &error).await;
    }

    let wait = if expired.attempt == 1 {
        0.0
    } else {
        policy.wait_after(expired.attempt)
    };

    to_queued(
        connection,
        expired.id,
        wait,
        QueuedReason::LeaseExpired,
        None,
    )
    .await
}

/// Fails the transfers that have waited for `patience` for a worker that can read their specification; how many.
///
/// # Errors
/// From the database.
pub async fn give_up_unreadable(
    database: &Database,
    patience: Duration,
) -> Result<usize, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    let late = ends::lock_unreadable(&mut transaction, patience).await?;

    let mut members = Vec::new();
    for transfer in &late {
        members.extend(to_failed(&mut transaction, transfer.id, &transfer.error).await?);
    }
    settle(&mut transaction, members).await?;
    transaction.commit().await?;

    Ok(late.len())
}
