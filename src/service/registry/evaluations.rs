//! A result is staged and waits; another program's judgement, or its silence, ends the wait.
//!
//! Whatever ends it queues the transfer once more. The worker that takes it up writes the result, under its lease like
//! every other: so nobody publishes twice, and an attempt that dies is followed by another.

use serde_json::json;
use sqlx::PgConnection;
use time::format_description::well_known::Rfc3339;

use super::{attempt_ends::to_cancelled, settle::settle};
use crate::{
    contract::{
        evaluation::{Evaluation, EvaluationRecord},
        events::{AuditAction, EventKind, QueuedReason},
        ids::{RetuneId, TransferId},
        spec::ExternalGate,
    },
    pipeline::Outcome,
    service::{
        database::{
            Database, audit_events, events,
            transfers::{
                self,
                evaluations::{self, Locked},
                leases::{Claimed, attempt_ends},
            },
        },
        domain::{
            access::Caller,
            leases::Lease,
            transfers::{Status, Transfer},
        },
    },
};

/// Why an evaluation is not taken.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    #[error("the transfer is {}, and awaits no evaluation", .status.name())]
    InvalidState { status: Status },
    #[error("the transfer's external gate is called {gate:?}")]
    OtherGate { gate: String },
    #[error("another evaluation has been recorded before; only the first counts")]
    Evaluated,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Leaves a staged result to be evaluated; false when the lease is lost. A wish to cancel is obeyed: nothing has been
/// published.
///
/// # Errors
/// From the database.
pub async fn wait(
    database: &Database,
    held: &Lease<Claimed>,
    outcome: &Outcome,
    gate: &ExternalGate,
) -> Result<bool, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    let Some(row) = attempt_ends::lock_held(&mut transaction, held).await? else {
        return Ok(false);
    };

    let retune = if row.status == Status::Cancelling {
        to_cancelled(&mut transaction, held.transfer).await?
    } else {
        let hours = gate.deadline_hours;
        let staged = evaluations::stage(&mut transaction, held, outcome, hours).await?;
        let data = json!({
            "attempt": held.attempt, "name": gate.name, "uri": outcome.uri,
            "deadline": staged.deadline.format(&Rfc3339).unwrap_or_default(),
        });
        let kind = EventKind::TransferAwaitingEvaluation;
        events::insert(&mut transaction, held.transfer, kind, data).await?;
        staged.retune
    };
    settle(&mut transaction, retune).await?;
    transaction.commit().await?;

    Ok(true)
}

/// Records what the other program says; `None` where the tenant has no such transfer. The same again changes nothing.
///
/// # Errors
/// See [`EvaluationError`].
pub async fn record(
    database: &Database,
    caller: impl Into<Caller>,
    id: TransferId,
    evaluation: Evaluation,
) -> Result<Option<Transfer>, EvaluationError> {
    let caller = caller.into();
    let name = evaluation.name.clone();
    let said = json!(EvaluationRecord::from(evaluation));
    let mut scope = database.scope(caller.tenant).await?;
    let locked = evaluations::lock(&mut scope, caller.tenant, id, &said).await?;
    let Some(Locked {
        status,
        gate,
        is_evaluated,
        is_same,
    }) = locked
    else {
        return Ok(None);
    };

    let gate = gate.ok_or(EvaluationError::InvalidState { status })?;
    if gate != name {
        return Err(EvaluationError::OtherGate { gate });
    }
    match status {
        Status::AwaitingEvaluation => {}
        _ if is_same => return Ok(Some(transfers::by_id(&mut scope, id).await?)),
        _ if is_evaluated => return Err(EvaluationError::Evaluated),
        _ => return Err(EvaluationError::InvalidState { status }),
    }

    let retune = end_wait(&mut scope, id, &said).await?;
    let subject = format!("transfers/{id}");
    audit_events::record(&mut scope, caller, AuditAction::TransferEvaluate, &subject).await?;
    settle(&mut scope, retune).await?;
    let transfer = transfers::by_id(&mut scope, id).await?;
    scope.commit().await?;

    Ok(Some(transfer))
}

/// Ends the waits whose deadline is past, as rejections; how many.
///
/// # Errors
/// From the database.
pub async fn expire(database: &Database) -> Result<usize, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    let overdue = evaluations::lock_overdue(&mut transaction).await?;

    let mut members = Vec::new();
    for transfer in &overdue {
        let silence = json!(EvaluationRecord::unanswered(&transfer.gate));
        members.extend(end_wait(&mut transaction, transfer.id, &silence).await?);
    }
    settle(&mut transaction, members).await?;
    transaction.commit().await?;

    Ok(overdue.len())
}

async fn end_wait(
    connection: &mut PgConnection,
    id: TransferId,
    said: &serde_json::Value,
) -> Result<Option<RetuneId>, sqlx::Error> {
    let retune = evaluations::record(connection, id, said).await?;
    let data = json!({"reason": QueuedReason::Evaluated, "evaluation": said});
    events::insert(connection, id, EventKind::TransferQueued, data).await?;

    Ok(retune)
}
