//! Moves out of a lease, each with its event. The caller's transaction holds the row's lock.

use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::service::{database::events, jobs::JobError};

/// Queued again, for now + `wait_seconds`.
pub(super) async fn to_queued(
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

pub(super) async fn to_failed(
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

pub(super) async fn to_cancelled(
    connection: &mut PgConnection,
    id: Uuid,
) -> Result<(), sqlx::Error> {
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
