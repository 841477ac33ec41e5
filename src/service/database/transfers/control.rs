//! What people change of transfers, within a transaction of a use case.

use sqlx::PgConnection;

use crate::{
    contract::ids::{RetuneId, TenantId, TransferId},
    service::domain::transfers::Status,
};

/// The index that keeps a fine-tune from being carried twice onto the same base.
const ONE_AT_A_TIME: &str = "one_transfer_a_fine_tune_and_base";

/// A transfer whose row is locked.
pub(in crate::service) struct Locked {
    pub status: Status,
    pub retune: Option<RetuneId>,
}

/// Reads the status and keeps others from changing it until the transaction ends.
pub(in crate::service) async fn lock(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: TransferId,
) -> Result<Option<Locked>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT status AS "status: Status", retune FROM transfers
           WHERE id = $1 AND tenant = $2 FOR UPDATE"#,
        id.0,
        tenant.0,
    )
    .fetch_optional(connection)
    .await?;

    Ok(row.map(|row| Locked {
        status: row.status,
        retune: row.retune.map(RetuneId),
    }))
}

/// Asks the worker of a running transfer to stop.
pub(in crate::service) async fn ask_to_stop(
    connection: &mut PgConnection,
    id: TransferId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE transfers SET status = 'cancelling' WHERE id = $1",
        id.0
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Cancels a transfer that waits, for a worker or an evaluation; false where it does not wait any more.
pub(in crate::service) async fn cancel_queued(
    connection: &mut PgConnection,
    id: TransferId,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE transfers SET status = 'cancelled', finished_at = now()
         WHERE id = $1 AND status IN ('queued', 'awaiting_evaluation')",
        id.0
    )
    .execute(connection)
    .await?;

    Ok(done.rows_affected() == 1)
}

/// What became of a transfer that was to be queued again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) enum Revived {
    Queued,
    /// Another transfer of the same fine-tune onto the same base lives or has succeeded.
    CarriedAlready,
}

/// Queues a transfer that has ended again, with all its attempts before it. Where another has taken its
/// place, the transaction cannot go on.
pub(in crate::service) async fn revive(
    connection: &mut PgConnection,
    id: TransferId,
) -> Result<Revived, sqlx::Error> {
    let revived = sqlx::query!(
        "UPDATE transfers
         SET status = 'queued', attempt = 0, available_at = now(), held = retune IS NOT NULL,
             started_at = NULL, finished_at = NULL,
             error_code = NULL, error_detail = NULL, error_pointer = NULL,
             unreadable_to = NULL, unreadable_since = NULL,
             staged_uri = NULL, evaluation_deadline = NULL, evaluation = NULL, evaluated_at = NULL
         WHERE id = $1",
        id.0
    )
    .execute(connection)
    .await;

    match revived {
        Ok(_) => Ok(Revived::Queued),
        Err(error) => {
            let constraint = error.as_database_error().and_then(|said| said.constraint());
            if constraint == Some(ONE_AT_A_TIME) {
                Ok(Revived::CarriedAlready)
            } else {
                Err(error)
            }
        }
    }
}
