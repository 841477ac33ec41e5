//! A base model gets a version, and what depends on the model is carried onto it.

use serde_json::json;
use sqlx::PgConnection;

use super::begin;
use crate::{
    contract::{
        events::{AuditAction, EventKind},
        ids::{BaseModelId, BaseVersionId, TenantId},
    },
    service::{
        database::{
            Database, arrivals, audit_events,
            base_models::{self, versions},
            events,
            fine_tunes::dependents::{self, Dependents},
        },
        domain::{
            access::Caller,
            registry::{
                base_models::{BaseVersion, NewVersion},
                fine_tunes::On,
                occasions::{Occasion, Target},
                retunes::{Automatic, Reason},
            },
        },
    },
};

#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    #[error("there is no such base model")]
    UnknownModel,
    #[error("there is no version {0} that it could be made from")]
    UnknownParent(String),
    #[error("version {version} is there with the digest {digest}")]
    Conflict { version: String, digest: String },
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Registers a version, and makes the retune of what depends on it; true where it is new. The same
/// version with the same digest again changes nothing.
///
/// # Errors
/// See [`RegisterError`].
pub async fn register(
    database: &Database,
    caller: impl Into<Caller>,
    model: &str,
    new: &NewVersion,
    how: Automatic,
) -> Result<(BaseVersion, bool), RegisterError> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    let registered = register_in(&mut scope, caller, model, new, how).await?;
    scope.commit().await?;

    Ok(registered)
}

/// The same within a transaction that has entered the caller's tenant.
///
/// # Errors
/// See [`RegisterError`].
pub(super) async fn register_in(
    connection: &mut PgConnection,
    caller: Caller,
    model: &str,
    new: &NewVersion,
    how: Automatic,
) -> Result<(BaseVersion, bool), RegisterError> {
    let tenant = caller.tenant;
    let base_model = base_models::lock(connection, tenant, model)
        .await?
        .ok_or(RegisterError::UnknownModel)?;
    if let Some(there) = versions::find(connection, base_model, &new.version).await? {
        if there.digest == new.digest {
            return Ok((there, false));
        }
        return Err(RegisterError::Conflict {
            version: there.version,
            digest: there.digest,
        });
    }

    let id = insert(connection, tenant, base_model, new).await?;
    let subject = format!("base_models/{model}/versions/{}", new.version);
    let data = json!({
        "base_model": model, "version": new.version, "uri": new.uri, "digest": new.digest,
    });
    events::record(
        connection,
        tenant,
        &subject,
        EventKind::BaseModelVersionCreated,
        data,
    )
    .await?;

    arrivals::accept(connection, base_model, &new.uri).await?;
    let wanted = Dependents {
        base_model: Some(base_model),
        on: Some(On::NewVersion),
        ..Dependents::of(tenant)
    };

    let target = Target::of(base_model, versions::by_id(connection, id).await?);
    let mut dependents = dependents::find(connection, &wanted).await?;
    dependents.retain(|dependent| dependent.is_older_than(&target));
    let occasion = Occasion::automatic(tenant, Reason::NewVersion, how);
    begin::onto_version(connection, &occasion, &target, &dependents).await?;

    // Read again: it names its retune now.
    let version = versions::by_id(connection, id).await?;
    audit_events::record(connection, caller, AuditAction::BaseModelVersion, &subject).await?;

    Ok((version, true))
}

async fn insert(
    connection: &mut PgConnection,
    tenant: TenantId,
    base_model: BaseModelId,
    new: &NewVersion,
) -> Result<BaseVersionId, RegisterError> {
    let parent = match &new.parent {
        None => None,
        Some(name) => {
            let found = versions::find(connection, base_model, name).await?;
            Some(
                found
                    .ok_or_else(|| RegisterError::UnknownParent(name.clone()))?
                    .id,
            )
        }
    };

    Ok(versions::insert(connection, tenant, base_model, new, parent).await?)
}
