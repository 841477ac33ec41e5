//! A transfer leaves its worker: the transition and its event. The caller's transaction holds the row's lock, and
//! settles the retune that the transfer belongs to, which each returns.

use serde_json::json;
use sqlx::PgConnection;

use crate::{
    contract::{
        events::{EventKind, QueuedReason},
        ids::{RetuneId, TransferId},
    },
    service::{
        database::{events, transfers::leases::transitions},
        domain::transfers::JobError,
    },
};

/// Queued again, for now + `wait_seconds`.
pub(super) async fn to_queued(
    connection: &mut PgConnection,
    id: TransferId,
    wait_seconds: f64,
    reason: QueuedReason,
    error: Option<&JobError>,
) -> Result<Option<RetuneId>, sqlx::Error> {
    let retune = transitions::to_queued(connection, id, wait_seconds, error).await?;
    let data = json!({"reason": reason, "error": error});
    events::insert(connection, id, EventKind::TransferQueued, data).await?;

    Ok(retune)
}

pub(super) async fn to_failed(
    connection: &mut PgConnection,
    id: TransferId,
    error: &JobError,
) -> Result<Option<RetuneId>, sqlx::Error> {
    let retune = transitions::to_failed(connection, id, error).await?;
    events::insert(
        connection,
        id,
        EventKind::TransferFailed,
        json!({"error": error}),
    )
    .await?;

    Ok(retune)
}

pub(super) async fn to_cancelled(
    connection: &mut PgConnection,
    id: TransferId,
) -> Result<Option<RetuneId>, sqlx::Error> {
    let retune = transitions::to_cancelled(connection, id).await?;
    events::insert(connection, id, EventKind::TransferCancelled, json!({})).await?;

    Ok(retune)
}
