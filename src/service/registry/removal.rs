//! What has ended, and what nothing lives on, is removed.

use sqlx::PgConnection;

use crate::{
    contract::{
        events::AuditAction,
        ids::{BaseModelId, FineTuneId, TenantId, TransferId},
    },
    service::{
        database::{
            Database, arrivals, audit_events,
            base_models::{self, versions},
            fine_tunes, inbound_tokens, retunes,
            transfers::{control, removal},
        },
        domain::{
            access::Caller,
            transfers::{Status, Transfer},
        },
    },
};

/// Why something stays.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    #[error("the transfer is {}, and only what has ended is deleted", .status.name())]
    InvalidState { status: Status },
    /// What lives on it.
    #[error("{0}")]
    InUse(String),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Whether a transfer may be deleted, before its files are.
///
/// # Errors
/// See [`RemovalError`].
pub async fn check_transfer(
    database: &Database,
    caller: impl Into<Caller>,
    transfer: &Transfer,
) -> Result<(), RemovalError> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    may_go(
        &mut scope,
        caller.tenant,
        Ended {
            id: transfer.id,
            status: transfer.status,
        },
    )
    .await
}

/// Deletes a transfer that has ended, with its events; false where there is none.
///
/// # Errors
/// See [`RemovalError`].
pub async fn transfer(
    database: &Database,
    caller: impl Into<Caller>,
    id: TransferId,
) -> Result<bool, RemovalError> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    let Some(locked) = control::lock(&mut scope, caller.tenant, id).await? else {
        return Ok(false);
    };
    may_go(
        &mut scope,
        caller.tenant,
        Ended {
            id,
            status: locked.status,
        },
    )
    .await?;
    removal::delete(&mut scope, id).await?;

    let subject = format!("transfers/{id}");
    audit_events::record(&mut scope, caller, AuditAction::TransferDelete, &subject).await?;
    scope.commit().await?;

    Ok(true)
}

/// A transfer that is to have ended.
struct Ended {
    id: TransferId,
    status: Status,
}

async fn may_go(
    connection: &mut PgConnection,
    tenant: TenantId,
    Ended { id, status }: Ended,
) -> Result<(), RemovalError> {
    if !status.is_final() {
        return Err(RemovalError::InvalidState { status });
    }
    unused(removal::use_of(connection, tenant, id).await?)
}

fn unused(found: Option<String>) -> Result<(), RemovalError> {
    found.map_or(Ok(()), |living| Err(RemovalError::InUse(living)))
}

/// Deletes a fine-tune with its versions and aliases; false where there is none. The results stay in storage, and
/// so do the transfers, which are nobody's from then on.
///
/// # Errors
/// See [`RemovalError`].
pub async fn fine_tune(
    database: &Database,
    caller: impl Into<Caller>,
    name: &str,
) -> Result<bool, RemovalError> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    let Some(found) = fine_tunes::named(&mut scope, caller.tenant, name).await? else {
        return Ok(false);
    };

    // In the order of locks: no retune makes a transfer of it meanwhile.
    base_models::lock(&mut scope, caller.tenant, &found.base_model).await?;
    if removal::lock_of_fine_tune(&mut scope, found.id).await? {
        return Err(RemovalError::InUse(
            "a transfer of it has not ended".to_owned(),
        ));
    }
    fine_tunes::lock(&mut scope, caller.tenant, name).await?;
    delete_fine_tune(&mut scope, found.id).await?;

    let subject = format!("fine_tunes/{name}");
    audit_events::record(&mut scope, caller, AuditAction::FineTuneDelete, &subject).await?;
    scope.commit().await?;

    Ok(true)
}

/// Deletes a base model on which nothing lives, with its versions, aliases, announcements and tokens; false where
/// there is none. The models stay in storage.
///
/// # Errors
/// See [`RemovalError`].
pub async fn base_model(
    database: &Database,
    caller: impl Into<Caller>,
    name: &str,
) -> Result<bool, RemovalError> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    let Some(id) = base_models::lock(&mut scope, caller.tenant, name).await? else {
        return Ok(false);
    };
    unused(versions::removal::use_of(&mut scope, id, None).await?)?;
    delete_base_model(&mut scope, id).await?;

    let subject = format!("base_models/{name}");
    audit_events::record(&mut scope, caller, AuditAction::BaseModelDelete, &subject).await?;
    scope.commit().await?;

    Ok(true)
}

/// Deletes a version on which nothing lives; false where there is none. The model stays in storage.
///
/// # Errors
/// See [`RemovalError`].
pub async fn base_version(
    database: &Database,
    caller: impl Into<Caller>,
    name: &str,
    version: &str,
) -> Result<bool, RemovalError> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    let Some(id) = base_models::lock(&mut scope, caller.tenant, name).await? else {
        return Ok(false);
    };
    unused(versions::removal::use_of(&mut scope, id, Some(version)).await?)?;
    if delete_versions(&mut scope, id, Some(version)).await? == 0 {
        return Ok(false);
    }

    let subject = format!("base_models/{name}/versions/{version}");
    audit_events::record(
        &mut scope,
        caller,
        AuditAction::BaseModelVersionDelete,
        &subject,
    )
    .await?;
    scope.commit().await?;

    Ok(true)
}

/// Deletes a fine-tune with its versions and aliases; its transfers stay and are nobody's.
async fn delete_fine_tune(
    connection: &mut PgConnection,
    id: FineTuneId,
) -> Result<(), sqlx::Error> {
    fine_tunes::aliases::moves::delete_of(connection, id).await?;
    fine_tunes::aliases::delete_of(connection, id).await?;
    fine_tunes::aliases::protection::delete_of(connection, id).await?;
    fine_tunes::versions::delete_of(connection, id).await?;
    removal::forget_fine_tune(connection, id).await?;
    fine_tunes::delete(connection, id).await
}

/// Deletes a base model on which nothing lives, with all that was announced for it.
async fn delete_base_model(
    connection: &mut PgConnection,
    id: BaseModelId,
) -> Result<(), sqlx::Error> {
    base_models::aliases::delete_of(connection, id).await?;
    delete_versions(connection, id, None).await?;
    arrivals::delete_of(connection, id).await?;
    inbound_tokens::delete_of(connection, id).await?;
    base_models::delete(connection, id).await
}

/// Deletes the versions of a base model, or one of them; how many. What refers to them, and does not live on them,
/// forgets them.
async fn delete_versions(
    connection: &mut PgConnection,
    base_model: BaseModelId,
    version: Option<&str>,
) -> Result<u64, sqlx::Error> {
    let ids = versions::removal::ids_of(connection, base_model, version).await?;

    removal::forget_base_versions(connection, &ids).await?;
    retunes::forget_base_versions(connection, &ids).await?;
    base_models::aliases::moves::delete_to(connection, &ids).await?;
    base_models::aliases::moves::forget_previous(connection, &ids).await?;
    versions::removal::forget_parents(connection, &ids).await?;
    versions::removal::delete(connection, &ids).await
}
