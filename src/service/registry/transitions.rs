//! Transfers are cancelled and retried by hand, and their retunes follow.

use serde_json::json;

use super::{cancel::cancel_queued, settle::settle};
use crate::{
    config,
    contract::{
        events::{AuditAction, CancelReason, EventKind, QueuedReason},
        ids::TransferId,
    },
    service::{
        database::{
            Database, audit_events, events,
            quotas::{self, QuotaExceeded},
            transfers::{
                self,
                control::{self, Locked, Revived},
            },
        },
        domain::{
            access::Caller,
            transfers::{Status, Transfer},
        },
    },
};

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

/// Cancels a transfer that waits, for a worker or an evaluation, at once; asks the worker of a running one to stop. Asking twice is
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
    let mut scope = database.scope(caller.tenant).await?;
    let locked = control::lock(&mut scope, caller.tenant, id).await?;
    let Some(Locked { status, retune }) = locked else {
        return Ok(None);
    };

    match status {
        Status::Queued | Status::AwaitingEvaluation => {
            cancel_queued(&mut scope, id, CancelReason::Requested).await?;
            settle(&mut scope, retune).await?;
        }
        Status::Running => control::ask_to_stop(&mut scope, id).await?,
        Status::Cancelling => {}
        Status::Succeeded | Status::Failed | Status::Cancelled => {
            return Err(TransitionError::InvalidState { status });
        }
    }

    let subject = format!("transfers/{id}");
    audit_events::record(&mut scope, caller, AuditAction::TransferCancel, &subject).await?;
    let transfer = transfers::by_id(&mut scope, id).await?;
    scope.commit().await?;

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
    let mut scope = database.scope(caller.tenant).await?;
    let locked = control::lock(&mut scope, caller.tenant, id).await?;
    let Some(Locked { status, retune }) = locked else {
        return Ok(None);
    };
    if !matches!(status, Status::Failed | Status::Cancelled) {
        return Err(TransitionError::InvalidState { status });
    }

    if control::revive(&mut scope, id).await? == Revived::CarriedAlready {
        return Err(TransitionError::CarriedAlready);
    }
    if let Some(exceeded) = quotas::check(&mut scope, caller.tenant, quotas).await? {
        return Err(exceeded.into());
    }

    let data = json!({"reason": QueuedReason::Retried});
    events::insert(&mut scope, id, EventKind::TransferQueued, data).await?;
    let subject = format!("transfers/{id}");
    audit_events::record(&mut scope, caller, AuditAction::TransferRetry, &subject).await?;
    // Which lets it go, unless it is paused or full.
    settle(&mut scope, retune).await?;
    let transfer = transfers::by_id(&mut scope, id).await?;
    scope.commit().await?;

    Ok(Some(transfer))
}
