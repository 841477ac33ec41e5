//! Tidies up after workers that died, and after versions of the program that are gone.

use std::time::Duration;

use sqlx::PgConnection;

use crate::{
    contract::{
        codes::FailureCode,
        events::QueuedReason,
        ids::{RetuneId, WorkerId},
    },
    service::{
        database::{
            Database,
            transfers::leases::attempt_ends::{self, Expired},
        },
        domain::{
            leases::RetryPolicy,
            transfers::{JobError, Status},
        },
        registry::{
            attempt_ends::{to_cancelled, to_failed, to_queued},
            clock,
            settle::settle,
        },
    },
};

/// Ends the leases of a worker known to be dead at once, and sweeps; how many it held.
///
/// # Errors
/// From the database.
pub async fn release(
    database: &Database,
    worker: WorkerId,
    policy: RetryPolicy,
) -> Result<u64, sqlx::Error> {
    let released = attempt_ends::expire(database, worker).await?;
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
    let expired = attempt_ends::lock_expired(&mut transaction).await?;

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

/// Fails the transfers that have waited for `longest` for a worker that can read their specification; how many.
///
/// # Errors
/// From the database.
pub async fn give_up_unreadable(
    database: &Database,
    longest: Duration,
) -> Result<usize, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    let late = attempt_ends::lock_unreadable(&mut transaction, longest).await?;

    let mut members = Vec::new();
    for transfer in &late {
        members.extend(to_failed(&mut transaction, transfer.id, &transfer.error).await?);
    }
    settle(&mut transaction, members).await?;
    transaction.commit().await?;

    Ok(late.len())
}
