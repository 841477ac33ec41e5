//! A worker takes a transfer, and says that it is still at it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    contract::{events::EventKind, ids::WorkerId},
    service::{
        database::{
            Database, events, retunes,
            transfers::leases::{self, Claimed, Report},
        },
        domain::{
            leases::{Lease, RetryPolicy},
            transfers::Status,
        },
        registry::clock,
    },
};

/// What a heartbeat hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    GoOn,
    /// Somebody wants the transfer cancelled.
    Cancel,
    /// The lease is not ours any more.
    Lost,
}

/// Takes a transfer that waits, or one whose lease ran out; `None` when there is nothing to do. The tenant with
/// the fewest at work is served first, and among those the one that was served longest ago; of a tenant's, the
/// one that has waited longest. An attempt that died is followed at once by the second, later ones wait.
///
/// # Errors
/// From the database.
pub async fn claim(
    database: &Database,
    worker: WorkerId,
    policy: RetryPolicy,
) -> Result<Option<Lease<Claimed>>, sqlx::Error> {
    // Before the transaction begins, whose time the lease counts from.
    let until = Instant::now() + policy.lease;
    clock::tick(database, policy.lease).await?;
    let mut transaction = database.pool.begin().await?;
    let Some(taken) = leases::claim(&mut transaction, worker, policy).await? else {
        return Ok(None);
    };

    let entry = taken.entry;
    let data = json!({"attempt": entry.attempt, "worker": worker});
    let kind = EventKind::TransferStarted;
    events::insert(&mut transaction, entry.transfer, kind, data).await?;
    if let Some(retune) = taken.retune {
        retunes::mark_running(&mut transaction, retune).await?;
    }
    transaction.commit().await?;

    Ok(Some(Lease {
        entry,
        token: taken.token,
        until,
    }))
}

/// Renews the lease by `lease` from now, stores the progress, and hears whether to go on.
///
/// # Errors
/// From the database; the lease then still runs, and may run out.
pub async fn beat(
    database: &Database,
    held: &Lease<Claimed>,
    lease: Duration,
    report: &Report,
) -> Result<Heard, sqlx::Error> {
    clock::tick(database, lease).await?;
    let mut transaction = database.pool.begin().await?;
    let Some(beaten) = leases::beat(&mut transaction, held, lease, report).await? else {
        return Ok(Heard::Lost);
    };

    if beaten.phase_changed {
        let data = json!({"attempt": held.attempt, "phase": report.phase});
        let kind = EventKind::TransferPhaseChanged;
        events::insert(&mut transaction, held.transfer, kind, data).await?;
    }
    transaction.commit().await?;

    Ok(if beaten.status == Status::Cancelling {
        Heard::Cancel
    } else {
        Heard::GoOn
    })
}
