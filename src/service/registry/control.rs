//! What people do with retunes that have begun: pause, resume and cancel.

use super::{cancel::cancel_queued, settle::settle};
use crate::{
    contract::{
        events::{AuditAction, CancelReason},
        ids::{RetuneId, TenantId},
    },
    service::{
        database::{Database, Scope, audit_events, retunes, transfers::members},
        domain::{
            access::Caller,
            registry::retunes::{Retune, RetuneStatus},
        },
    },
};

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It has ended.
    #[error("the retune is {status:?}")]
    InvalidState { status: RetuneStatus },
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Keeps the waiting transfers from beginning; what runs goes on. Pausing twice is pausing once.
///
/// # Errors
/// [`ControlError::InvalidState`] when it is over already.
pub async fn pause(
    database: &Database,
    caller: impl Into<Caller>,
    id: RetuneId,
) -> Result<Option<Retune>, ControlError> {
    let caller = caller.into();
    let Some(mut scope) = open(database, caller.tenant, id).await? else {
        return Ok(None);
    };

    members::hold(&mut scope, id).await?;
    retunes::pause(&mut scope, id).await?;

    close(scope, caller, id, AuditAction::RetunePause).await
}

/// Lets the transfers begin again. Resuming one that is not paused changes nothing.
///
/// # Errors
/// [`ControlError::InvalidState`] when it is over already.
pub async fn resume(
    database: &Database,
    caller: impl Into<Caller>,
    id: RetuneId,
) -> Result<Option<Retune>, ControlError> {
    let caller = caller.into();
    let Some(mut scope) = open(database, caller.tenant, id).await? else {
        return Ok(None);
    };

    members::release_running(&mut scope, id).await?;
    retunes::resume(&mut scope, id).await?;
    settle(&mut scope, [id]).await?;

    close(scope, caller, id, AuditAction::RetuneResume).await
}

/// Cancels what waits, and asks the workers of what runs to stop.
///
/// # Errors
/// [`ControlError::InvalidState`] when it is over already.
pub async fn cancel(
    database: &Database,
    caller: impl Into<Caller>,
    id: RetuneId,
) -> Result<Option<Retune>, ControlError> {
    let caller = caller.into();
    let Some(mut scope) = open(database, caller.tenant, id).await? else {
        return Ok(None);
    };

    for transfer in members::waiting(&mut scope, id).await? {
        cancel_queued(&mut scope, transfer, CancelReason::RetuneCancelled).await?;
    }
    members::cancel_running(&mut scope, id).await?;
    settle(&mut scope, [id]).await?;

    close(scope, caller, id, AuditAction::RetuneCancel).await
}

/// Begins a change: locks the retune's unfinished transfers, then the retune, in the order of locks
/// everywhere. `None` where the tenant has none of this id.
async fn open(
    database: &Database,
    tenant: TenantId,
    id: RetuneId,
) -> Result<Option<Scope>, ControlError> {
    let mut scope = database.scope(tenant).await?;
    members::lock_unfinished(&mut scope, tenant, id).await?;
    match retunes::lock_of(&mut scope, tenant, id).await? {
        None => Ok(None),
        Some(status) if status.is_final() => Err(ControlError::InvalidState { status }),
        Some(_) => Ok(Some(scope)),
    }
}

/// Ends a change, with who made it; the retune as it is now.
async fn close(
    mut scope: Scope,
    caller: Caller,
    id: RetuneId,
    action: AuditAction,
) -> Result<Option<Retune>, ControlError> {
    let retune = retunes::by_id(&mut scope, id).await?;
    audit_events::record(&mut scope, caller, action, &format!("retunes/{id}")).await?;
    scope.commit().await?;

    Ok(Some(retune))
}
