//! Transitions out of a lease. The caller's transaction holds the row's lock, and settles the retune that the
//! transfer belongs to, which each returns.

use sqlx::PgConnection;

use crate::{
    contract::ids::{RetuneId, TransferId},
    service::domain::transfers::JobError,
};

/// Queued again, for now + `wait_seconds`.
pub(in crate::service) async fn to_queued(
    connection: &mut PgConnection,
    id: TransferId,
    wait_seconds: f64,
    error: Option<&JobError>,
) -> Result<Option<RetuneId>, sqlx::Error> {
    let retune = sqlx::query_scalar!(
        "UPDATE transfers
         SET status = 'queued', available_at = now() + make_interval(secs => $2),
             lease_token = NULL, lease_expires_at = NULL, phase = NULL, progress_done = NULL,
             progress_total = NULL, progress_unit = NULL, estimated_finish = NULL,
             error_code = $3, error_detail = $4, error_pointer = $5, unreadable_since = NULL
         WHERE id = $1 RETURNING retune",
        id.0,
        wait_seconds,
        error.map(|error| &*error.code),
        error.map(|error| &*error.detail),
        error.and_then(|error| error.pointer.as_deref()),
    )
    .fetch_one(connection)
    .await?;

    Ok(retune.map(RetuneId))
}

pub(in crate::service) async fn to_failed(
    connection: &mut PgConnection,
    id: TransferId,
    error: &JobError,
) -> Result<Option<RetuneId>, sqlx::Error> {
    let retune = sqlx::query_scalar!(
        "UPDATE transfers
         SET status = 'failed', finished_at = now(), lease_token = NULL, lease_expires_at = NULL,
             phase = NULL, progress_done = NULL, progress_total = NULL, progress_unit = NULL,
             estimated_finish = NULL, error_code = $2, error_detail = $3, error_pointer = $4,
             unreadable_since = NULL
         WHERE id = $1 RETURNING retune",
        id.0,
        error.code,
        error.detail,
        error.pointer,
    )
    .fetch_one(connection)
    .await?;

    Ok(retune.map(RetuneId))
}

pub(in crate::service) async fn to_cancelled(
    connection: &mut PgConnection,
    id: TransferId,
) -> Result<Option<RetuneId>, sqlx::Error> {
    let retune = sqlx::query_scalar!(
        "UPDATE transfers
         SET status = 'cancelled', finished_at = now(), lease_token = NULL, lease_expires_at = NULL,
             phase = NULL, progress_done = NULL, progress_total = NULL, progress_unit = NULL,
             estimated_finish = NULL
         WHERE id = $1 RETURNING retune",
        id.0
    )
    .fetch_one(connection)
    .await?;

    Ok(retune.map(RetuneId))
}
