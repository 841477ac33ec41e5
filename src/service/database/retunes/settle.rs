//! What the end of a transfer means for its retune.
//!
//! The caller's transaction has changed a transfer and holds its lock; here the retune's lock is
//! taken, and everything counted after that: of two last transfers that end at once, the second sees
//! the first. Transfers are locked before retunes everywhere, so this never waits for one: those
//! that somebody else holds are left to him, who will come here too.

use std::collections::BTreeSet;

use serde_json::json;
use sqlx::PgConnection;

use crate::{
    contract::{events::EventKind, ids::RetuneId},
    service::{
        database::{events, transfers},
        domain::registry::retunes::{Retune, RetuneStatus},
    },
};

/// Brings retunes up to date with their transfers: ended ones are finished, waiting transfers let go
/// as far as the limits allow, and cancelled when the budget is used up.
pub(in crate::service::database) async fn settle(
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
    let tenant =
        sqlx::query_scalar!("SELECT tenant FROM retunes WHERE id = $1 FOR NO KEY UPDATE", id.0)
            .fetch_one(&mut *connection)
            .await?;
    let mut retune = super::by_id(connection, id).await?;
    if is_spent(&retune) && cancel_waiting(connection, id).await? {
        retune = super::by_id(connection, id).await?;
    }
    let status = retune.counts.status(retune.status == RetuneStatus::Paused);
    if !status.is_final() && status != RetuneStatus::Paused {
        let_go(connection, &retune).await?;
    }
    if status == retune.status {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE retunes SET status = $2, finished_at = CASE WHEN $3 THEN now() END WHERE id = $1",
        id.0,
        status as RetuneStatus,
        status.is_final(),
    )
    .execute(&mut *connection)
    .await?;
    if status.is_final() {
        let data = json!({
            "retune": id, "status": status, "counts": retune.counts,
            "base_model": retune.base_model, "base_version": retune.base_version,
        });
        let subject = format!("retunes/{id}");
        events::record(connection, tenant.into(), &subject, EventKind::RetuneCompleted, data)
            .await?;
    }
    Ok(())
}

fn is_spent(retune: &Retune) -> bool {
    let most = retune.limits.max_compute_seconds;
    most.is_some_and(|most| retune.compute_seconds >= most as f64) && retune.counts.queued > 0
}

/// Whether there were any.
async fn cancel_waiting(connection: &mut PgConnection, id: RetuneId) -> Result<bool, sqlx::Error> {
    let waiting = sqlx::query_scalar!(
        "SELECT id FROM transfers WHERE retune = $1 AND status = 'queued'
         ORDER BY id FOR UPDATE SKIP LOCKED",
        id.0
    )
    .fetch_all(&mut *connection)
    .await?;
    for transfer in &waiting {
        transfers::cancel_queued(connection, (*transfer).into(), "budget_exhausted").await?;
    }
    Ok(!waiting.is_empty())
}

/// Lets as many held transfers go as may be at work beside those that are let go already.
async fn let_go(connection: &mut PgConnection, retune: &Retune) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH next AS (
             SELECT id FROM transfers
             WHERE retune = $1 AND status = 'queued' AND held
             ORDER BY id
             LIMIT CASE WHEN $2::bigint IS NOT NULL THEN
                 (SELECT greatest($2 - count(*), 0) FROM transfers
                  WHERE retune = $1 AND NOT held AND status IN ('queued', 'running', 'cancelling'))
             END
             FOR UPDATE SKIP LOCKED
         )
         UPDATE transfers t SET held = false FROM next WHERE t.id = next.id",
        retune.id.0,
        retune.limits.max_concurrent.map(i64::from),
    )
    .execute(connection)
    .await?;
    Ok(())
}
