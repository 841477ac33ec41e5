//! What the end of a transfer means for its retune.
//!
//! The caller's transaction has changed a transfer and holds its lock; here the retune's lock is
//! taken, and everything counted after that: of two last transfers that end at once, the second sees
//! the first. Transfers are locked before retunes everywhere, so this never waits for one: those
//! that somebody else holds are left to him, who will come here too.

use std::collections::BTreeSet;

use serde_json::json;
use sqlx::PgConnection;

use super::cancel::cancel_queued;
use crate::{
    contract::{
        events::{CancelReason, EventKind},
        ids::RetuneId,
    },
    service::{
        database::{events, retunes, transfers::members},
        domain::registry::retunes::{Retune, RetuneStatus},
    },
};

/// Brings retunes up to date with their transfers: ended ones are finished, waiting transfers let go
/// as far as the limits allow, and cancelled when the budget is used up.
///
/// # Errors
/// From the database.
pub(super) async fn settle(
    connection: &mut PgConnection,
    retunes: impl IntoIterator<Item = RetuneId>,
) -> Result<(), sqlx::Error> {
    // In one order, for others may settle the same ones.
    for id in retunes.into_iter().collect::<BTreeSet<_>>() {
        settle_one(connection, id).await?;
    }
    Ok(())
}

async fn settle_one(connection: &mut PgConnection, id: RetuneId) -> Result<(), sqlx::Error> {
    let tenant = retunes::lock(connection, id).await?;
    let mut retune = retunes::by_id(connection, id).await?;
    if is_spent(&retune) && cancel_waiting(connection, id).await? {
        retune = retunes::by_id(connection, id).await?;
    }

    let status = retune.counts.status(retune.status == RetuneStatus::Paused);
    if !status.is_final() && status != RetuneStatus::Paused {
        members::let_go(connection, id, retune.limits.max_concurrent).await?;
    }
    if status == retune.status {
        return Ok(());
    }

    retunes::set_status(connection, id, status).await?;
    if status.is_final() {
        let data = json!({
            "retune": id, "status": status, "counts": retune.counts,
            "base_model": retune.base_model, "base_version": retune.base_version,
        });
        let subject = format!("retunes/{id}");
        events::record(
            connection,
            tenant,
            &subject,
            EventKind::RetuneCompleted,
            data,
        )
        .await?;
    }

    Ok(())
}

fn is_spent(retune: &Retune) -> bool {
    let limit = retune.limits.max_compute_seconds;
    limit.is_some_and(|limit| retune.compute_seconds >= limit as f64) && retune.counts.queued > 0
}

/// Whether there were any.
async fn cancel_waiting(connection: &mut PgConnection, id: RetuneId) -> Result<bool, sqlx::Error> {
    let waiting = members::lock_free_waiting(connection, id).await?;
    for transfer in &waiting {
        cancel_queued(connection, *transfer, CancelReason::BudgetExhausted).await?;
    }

    Ok(!waiting.is_empty())
}
