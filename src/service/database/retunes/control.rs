//! What people do with retunes: begin one by hand, pause, resume and cancel.

use sqlx::PgConnection;

use super::{
    begin::{self, Occasion, Target},
    settle,
};
use crate::{
    config,
    contract::{
        events::AuditAction,
        ids::{BaseModelId, RetuneId, TenantId},
    },
    service::{
        database::{
            Database, Scope, audit_events, base_models,
            fine_tunes::dependents::{self, Dependent, Dependents},
            idempotency::{Idempotency, KeyReused},
            quotas::{self, QuotaExceeded},
            transfers,
        },
        domain::{
            access::Caller,
            registry::retunes::{Limits, Reason, Retune, RetuneStatus},
            transfers::Status,
        },
    },
};

/// A retune by hand.
#[derive(Clone, Debug)]
pub struct Wish {
    /// All that were tuned from the base model, where none is named.
    pub fine_tunes: Option<Vec<String>>,
    pub onto: Onto,
    pub limits: Limits,
    pub idempotency: Option<Idempotency>,
    pub max_attempts: i32,
}

/// Where to.
#[derive(Clone, Debug)]
pub enum Onto {
    Version {
        base_model: String,
        version: String,
    },
    /// Checked locations.
    Locations(Vec<String>),
}

#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    #[error("there is no such base model or version")]
    UnknownBase,
    /// The place in the list, and the name.
    #[error("there is no fine-tune {1}")]
    UnknownFineTune(usize, String),
    #[error("every fine-tune concerned is or was carried onto this base, or was tuned from it")]
    NothingToDo,
    #[error(transparent)]
    KeyReused(#[from] KeyReused),
    #[error(transparent)]
    QuotaExceeded(#[from] QuotaExceeded),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It has ended.
    #[error("the retune is {status:?}")]
    InvalidState { status: RetuneStatus },
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Begins a retune by hand, once per idempotency key and within the tenant's quotas.
///
/// # Errors
/// See [`BeginError`].
pub async fn begin(
    database: &Database,
    caller: impl Into<Caller>,
    wish: &Wish,
    quotas: &config::Quotas,
) -> Result<Retune, BeginError> {
    let caller = caller.into();
    let tenant = caller.tenant;
    let mut transaction = database.scope(tenant).await?;
    if let Some(idempotency) = &wish.idempotency
        && let Some(retune) = begun_before(&mut transaction, tenant, idempotency).await?
    {
        return Ok(retune);
    }
    let occasion = Occasion {
        tenant,
        reason: Reason::ByHand,
        limits: wish.limits,
        max_attempts: wish.max_attempts,
    };
    let id = match &wish.onto {
        Onto::Version { base_model, version } => {
            let target = target(&mut transaction, tenant, base_model, version).await?;
            let of = Some(target.base_model);
            let found = named(&mut transaction, tenant, of, wish.fine_tunes.as_deref()).await?;
            begin::onto_version(&mut transaction, &occasion, &target, &found)
                .await?
                .ok_or(BeginError::NothingToDo)?
        }
        Onto::Locations(targets) => {
            let found = named(&mut transaction, tenant, None, wish.fine_tunes.as_deref()).await?;
            begin::onto_locations(&mut transaction, &occasion, targets, &found).await?
        }
    };
    if let Some(exceeded) = quotas::check(&mut transaction, tenant, quotas).await? {
        return Err(exceeded.into());
    }
    if let Some(Idempotency { key, request_sha256 }) = &wish.idempotency {
        sqlx::query!(
            "UPDATE retunes SET idempotency_key = $2, request_sha256 = $3 WHERE id = $1",
            id.0,
            key,
            &request_sha256[..],
        )
        .execute(&mut *transaction)
        .await?;
    }
    let retune = super::by_id(&mut transaction, id).await?;
    audit_events::record(
        &mut transaction,
        caller,
        AuditAction::RetuneCreate,
        &format!("retunes/{id}"),
    )
    .await?;
    transaction.commit().await?;
    Ok(retune)
}

/// The retune of an earlier request under this key.
async fn begun_before(
    connection: &mut PgConnection,
    tenant: TenantId,
    idempotency: &Idempotency,
) -> Result<Option<Retune>, BeginError> {
    idempotency.lock(connection, tenant).await?;
    let earlier = sqlx::query!(
        "SELECT id, request_sha256 FROM retunes WHERE tenant = $1 AND idempotency_key = $2",
        tenant.0,
        idempotency.key,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(earlier) = earlier else { return Ok(None) };
    idempotency.check(earlier.request_sha256.as_deref())?;
    Ok(Some(super::by_id(connection, earlier.id.into()).await?))
}

async fn target(
    connection: &mut PgConnection,
    tenant: TenantId,
    base_model: &str,
    version: &str,
) -> Result<Target, BeginError> {
    let base_model = base_models::lock(connection, tenant, base_model).await?;
    let base_model = base_model.ok_or(BeginError::UnknownBase)?;
    let found = base_models::versions::find(connection, base_model, version).await?;
    let found = found.ok_or(BeginError::UnknownBase)?;
    Ok(Target::of(base_model, found))
}

/// The fine-tunes of these names, all of which must be there; all of the base model without names.
async fn named(
    connection: &mut PgConnection,
    tenant: TenantId,
    base_model: Option<BaseModelId>,
    names: Option<&[String]>,
) -> Result<Vec<Dependent>, BeginError> {
    let wanted =
        Dependents { base_model, names: names.map(<[_]>::to_vec), ..Dependents::of(tenant) };
    let found = dependents::find(connection, &wanted).await?;
    let is_missing = |name: &String| !found.iter().any(|one| one.name == *name);
    let missing = names.unwrap_or_default().iter().enumerate().find(|(_, name)| is_missing(name));
    match missing {
        Some((place, name)) => Err(BeginError::UnknownFineTune(place, name.clone())),
        None => Ok(found),
    }
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
    let Some(mut transaction) = open(database, caller.tenant, id).await? else { return Ok(None) };
    // Running ones too: should their worker die, nobody takes them up.
    sqlx::query!(
        "UPDATE transfers SET held = true
         WHERE retune = $1 AND status IN ('queued', 'running', 'cancelling')",
        id.0
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!("UPDATE retunes SET status = 'paused' WHERE id = $1", id.0)
        .execute(&mut *transaction)
        .await?;
    close(transaction, caller, id, AuditAction::RetunePause).await
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
    let Some(mut transaction) = open(database, caller.tenant, id).await? else { return Ok(None) };
    sqlx::query!(
        "UPDATE transfers SET held = false WHERE retune = $1 AND status IN ('running', 'cancelling')",
        id.0
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!("UPDATE retunes SET status = 'running' WHERE id = $1 AND status = 'paused'", id.0)
        .execute(&mut *transaction)
        .await?;
    settle::settle(&mut transaction, [id]).await?;
    close(transaction, caller, id, AuditAction::RetuneResume).await
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
    let Some(mut transaction) = open(database, caller.tenant, id).await? else { return Ok(None) };
    let waiting = sqlx::query_scalar!(
        "SELECT id FROM transfers WHERE retune = $1 AND status = 'queued' ORDER BY id",
        id.0
    )
    .fetch_all(&mut *transaction)
    .await?;
    for transfer in waiting {
        transfers::cancel_queued(&mut transaction, transfer.into(), "retune_cancelled").await?;
    }
    sqlx::query!(
        "UPDATE transfers SET status = 'cancelling' WHERE retune = $1 AND status = 'running'",
        id.0
    )
    .execute(&mut *transaction)
    .await?;
    settle::settle(&mut transaction, [id]).await?;
    close(transaction, caller, id, AuditAction::RetuneCancel).await
}

/// Begins a change: locks the retune's unfinished transfers, then the retune, in the order of locks
/// everywhere. `None` where the tenant has none of this id.
async fn open(
    database: &Database,
    tenant: TenantId,
    id: RetuneId,
) -> Result<Option<Scope>, ControlError> {
    let mut transaction = database.scope(tenant).await?;
    sqlx::query!(
        r#"SELECT status AS "status: Status" FROM transfers
           WHERE retune = $1 AND tenant = $2 AND status IN ('queued', 'running', 'cancelling')
           ORDER BY id FOR UPDATE"#,
        id.0,
        tenant.0,
    )
    .fetch_all(&mut *transaction)
    .await?;
    let status = sqlx::query_scalar!(
        r#"SELECT status AS "status: RetuneStatus" FROM retunes
           WHERE id = $1 AND tenant = $2 FOR NO KEY UPDATE"#,
        id.0,
        tenant.0,
    )
    .fetch_optional(&mut *transaction)
    .await?;
    match status {
        None => Ok(None),
        Some(status) if status.is_final() => Err(ControlError::InvalidState { status }),
        Some(_) => Ok(Some(transaction)),
    }
}

/// Ends a change, with who made it; the retune as it is now.
async fn close(
    mut transaction: Scope,
    caller: Caller,
    id: RetuneId,
    action: AuditAction,
) -> Result<Option<Retune>, ControlError> {
    let retune = super::by_id(&mut transaction, id).await?;
    audit_events::record(&mut transaction, caller, action, &format!("retunes/{id}")).await?;
    transaction.commit().await?;
    Ok(Some(retune))
}
