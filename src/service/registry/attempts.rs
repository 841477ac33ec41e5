//! Attempts at transfers, under their lease tokens: how they begin (`claim`), how they end, and the sweep for
//! workers that died. With each end the transfer's retune is settled, in the same transaction.

mod claim;
mod sweep;

use serde_json::json;

use super::{
    attempt_ends::{to_cancelled, to_failed, to_queued},
    deliver::{self, Delivery},
    settle::settle,
};
use crate::{
    contract::events::{EventKind, QueuedReason},
    pipeline::{Outcome, Verdict},
    service::{
        database::{
            Database, events,
            transfers::leases::{
                Claimed,
                attempt_ends::{self, Held},
            },
        },
        domain::{
            leases::{Lease, RetryPolicy},
            transfers::{JobError, Status},
        },
    },
};

pub use claim::{Heard, beat, claim};
pub use sweep::{give_up_unreadable, release, sweep};

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
    let recorded = attempt_ends::record_result(&mut transaction, held, outcome).await?;
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
    let Some(row) = attempt_ends::lock_held(&mut transaction, held).await? else {
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
    if attempt_ends::lock_held(&mut transaction, held)
        .await?
        .is_none()
    {
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
    let Some(row) = attempt_ends::lock_held(&mut transaction, held).await? else {
        return Ok(false);
    };

    let retune = if row.status == Status::Cancelling {
        to_cancelled(&mut transaction, held.transfer).await?
    } else {
        attempt_ends::uncount_attempt(&mut transaction, held).await?;
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
    let Some(row) = attempt_ends::lock_held(&mut transaction, held).await? else {
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
        attempt_ends::mark_unreadable(&mut transaction, held, unreadable_seconds.unwrap_or(0.0))
            .await?;
        (AfterFailure::QueuedAgain, retune)
    };

    settle(&mut transaction, retune).await?;
    transaction.commit().await?;

    Ok(Some(after))
}
