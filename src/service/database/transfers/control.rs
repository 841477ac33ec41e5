//! Transfers are cancelled and retried by hand.

use serde_json::json;
use sqlx::PgConnection;

use super::{Database, by_id};
use crate::{
    config,
    contract::{
        events::{AuditAction, EventKind},
        ids::{RetuneId, TenantId, TransferId},
    },
    service::{
        database::{
            audit_events, events,
            quotas::{self, QuotaExceeded},
            retunes,
        },
        domain::{
            access::Caller,
            transfers::{Status, Transfer},
        },
    },
};

/// The index that keeps a fine-tune from being carried twice onto the same base.
const ONE_AT_A_TIME: &str = "one_transfer_a_fine_tune_and_base";

#[derive(Debug, thiserror::Error)]
pub enum TransitionError {
    /// The transfer's status does not allow it.
    #[error("the transfer is {status:?}")]
    InvalidState { status: Status },
    /// Another transfer of the same fine-tune onto the same base lives or has succeeded.
    #[error("another transfer carries the fine-tune onto this base, or has done so")]
    CarriedAlready,
    #[error(transparent)]
    QuotaExceeded(#[from] QuotaExceeded),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Cancels a queued transfer at once; asks the worker of a running one to stop. Asking twice is
/// asking once.
///
/// # Errors
/// [`TransitionError::InvalidState`] when it is over already.
pub async fn request_cancel(
    database: &Database,
    caller: impl Into<Caller>,
    id: TransferId,
) -> Result<Option<Transfer>, TransitionError> {
    let caller = caller.into();
    let mut transaction = database.scope(caller.tenant).await?;
    let Some(Locked { status, retune }) = lock(&mut transaction, caller.tenant, id).await? else {
        return Ok(None);
    };
    match status {
        Status::Queued => {
            cancel_queued(&mut transaction, id, "requested").await?;
            retunes::settle(&mut transaction, retune).await?;
        }
        Status::Running => {
            sqlx::query!("UPDATE transfers SET status = 'cancelling' WHERE id = $1", id.0)
                .execute(&mut *transaction)
                .await?;
        }
        Status::Cancelling => {}
        Status::Succeeded | Status::Failed | Status::Cancelled => {
            return Err(TransitionError::InvalidState { status });
        }
    }
    audit_events::record(
        &mut transaction,
        caller,
        AuditAction::TransferCancel,
        &format!("transfers/{id}"),
    )
    .await?;
    let transfer = by_id(&mut transaction, id).await?;
    transaction.commit().await?;
    Ok(Some(transfer))
}

/// Queues a failed or cancelled transfer again, with all its attempts before it; its retune is open
/// again.
///
/// # Errors
/// [`TransitionError::InvalidState`] when it has not ended, or has succeeded;
/// [`TransitionError::CarriedAlready`] when another has taken its place since.
pub async fn retry(
    database: &Database,
    caller: impl Into<Caller>,
    id: TransferId,
    quotas: &config::Quotas,
) -> Result<Option<Transfer>, TransitionError> {
    let caller = caller.into();
    let mut transaction = database.scope(caller.tenant).await?;
    let Some(Locked { status, retune }) = lock(&mut transaction, caller.tenant, id).await? else {
        return Ok(None);
    };
    if !matches!(status, Status::Failed | Status::Cancelled) {
        return Err(TransitionError::InvalidState { status });
    }
    let revived = sqlx::query!(
        "UPDATE transfers
         SET status = 'queued', attempt = 0, available_at = now(), held = retune IS NOT NULL,
             started_at = NULL, finished_at = NULL,
             error_code = NULL, error_detail = NULL, error_pointer = NULL,
             unreadable_to = NULL, unreadable_since = NULL
         WHERE id = $1",
        id.0
    )
    .execute(&mut *transaction)
    .await;
    revived.map_err(|error| {
        let constraint = error.as_database_error().and_then(|said| said.constraint());
        if constraint == Some(ONE_AT_A_TIME) {
            TransitionError::CarriedAlready
        } else {
            error.into()
        }
    })?;
    if let Some(exceeded) = quotas::check(&mut transaction, caller.tenant, quotas).await? {
        return Err(exceeded.into());
    }
    events::insert(&mut transaction, id, EventKind::TransferQueued, json!({"reason": "retried"}))
        .await?;
    audit_events::record(
        &mut transaction,
        caller,
        AuditAction::TransferRetry,
        &format!("transfers/{id}"),
    )
    .await?;
    // Which lets it go, unless it is paused or full.
    retunes::settle(&mut transaction, retune).await?;
    let transfer = by_id(&mut transaction, id).await?;
    transaction.commit().await?;
    Ok(Some(transfer))
}

/// Cancels a transfer that waits, and says why; the caller settles its retune. One that has been
/// claimed meanwhile stays as it is.
pub(in crate::service::database) async fn cancel_queued(
    connection: &mut PgConnection,
    id: TransferId,
    reason: &str,
) -> Result<(), sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE transfers SET status = 'cancelled', finished_at = now()
         WHERE id = $1 AND status = 'queued'",
        id.0
    )
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 1 {
        events::insert(connection, id, EventKind::TransferCancelled, json!({"reason": reason}))
            .await?;
    }
    Ok(())
}

struct Locked {
    status: Status,
    retune: Option<RetuneId>,
}

/// Reads the status and keeps others from changing it until the transaction ends.
async fn lock(
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

    Ok(row.map(|row| Locked { status: row.status, retune: row.retune.map(RetuneId) }))
}
