//! A transfer that waits is cancelled.

use serde_json::json;
use sqlx::PgConnection;

use crate::{
    contract::{
        events::{CancelReason, EventKind},
        ids::TransferId,
    },
    service::database::{events, transfers::control},
};

/// Cancels a transfer that waits, and says why; the caller settles its retune. One that has been
/// claimed meanwhile stays as it is.
///
/// # Errors
/// From the database.
pub(super) async fn cancel_queued(
    connection: &mut PgConnection,
    id: TransferId,
    reason: CancelReason,
) -> Result<(), sqlx::Error> {
    if control::cancel_queued(connection, id).await? {
        let data = json!({"reason": reason});
        events::insert(connection, id, EventKind::TransferCancelled, data).await?;
    }
    Ok(())
}
