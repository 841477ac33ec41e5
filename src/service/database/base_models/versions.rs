//! Versions of base models: registered once, never changed; an arrival makes a retune.

use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::lock;
use crate::service::{
    access::Caller,
    database::{
        Database, audit_events, events,
        fine_tunes::dependents::{self, Dependents},
        retunes::begin::{self, Occasion, Target},
    },
    retuning::{
        base_models::BaseVersion,
        fine_tunes::On,
        retunes::{Automatic, Reason},
    },
};

/// A version that has been looked at in storage.
#[derive(Clone, Debug)]
pub struct NewVersion {
    pub version: String,
    pub uri: String,
    pub digest: String,
    pub size: i64,
    pub parent: Option<String>,
    pub licence: Option<String>,
    pub retires_at: Option<OffsetDateTime>,
}

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

/// `SELECT` of [`BaseVersion`]s with the given ending.
macro_rules! select {
    ($ending:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            BaseVersion,
            r#"SELECT v.id, m.name AS base_model, v.version, v.uri, v.digest, v.size,
                      p.version AS "parent?", v.licence, v.retires_at, v.created_at,
                      (SELECT r.id FROM retunes r
                       WHERE r.base_version = v.id AND r.reason = 'new_version') AS retune
               FROM base_model_versions v
               JOIN base_models m ON m.id = v.base_model
               LEFT JOIN base_model_versions p ON p.id = v.parent "# + $ending
            $(, $argument)*
        )
    };
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
    let mut transaction = database.scope(caller.tenant).await?;
    let registered = register_in(&mut transaction, (caller, model), new, how).await?;
    transaction.commit().await?;
    Ok(registered)
}

/// The same within a transaction that has entered the caller's tenant.
///
/// # Errors
/// See [`RegisterError`].
pub(in crate::service::database) async fn register_in(
    connection: &mut PgConnection,
    (caller, model): (Caller, &str),
    new: &NewVersion,
    how: Automatic,
) -> Result<(BaseVersion, bool), RegisterError> {
    let tenant = caller.tenant;
    let base_model = lock(connection, tenant, model).await?.ok_or(RegisterError::UnknownModel)?;
    if let Some(there) = find(connection, base_model, &new.version).await? {
        if there.digest == new.digest {
            return Ok((there, false));
        }
        return Err(RegisterError::Conflict { version: there.version, digest: there.digest });
    }
    let id = insert(connection, tenant, base_model, new).await?;
    let subject = format!("base_models/{model}/versions/{}", new.version);
    let data = json!({
        "base_model": model, "version": new.version, "uri": new.uri, "digest": new.digest,
    });
    events::record(connection, tenant, &subject, "base_model.version.created", data).await?;
    let wanted = Dependents {
        base_model: Some(base_model),
        on: Some(On::NewVersion),
        ..Dependents::of(tenant)
    };
    let version = select!("WHERE v.id = $1", id).fetch_one(&mut *connection).await?;
    let target = Target::of(base_model, version);
    let mut dependents = dependents::find(connection, &wanted).await?;
    dependents.retain(|one| one.is_older_than(&target));
    let occasion = Occasion {
        tenant,
        reason: Reason::NewVersion,
        limits: how.limits,
        max_attempts: how.max_attempts,
    };
    begin::onto_version(connection, &occasion, &target, &dependents).await?;
    let version = select!("WHERE v.id = $1", id).fetch_one(&mut *connection).await?;
    audit_events::record(connection, caller, "base_model.version", &subject).await?;
    Ok((version, true))
}

async fn insert(
    connection: &mut PgConnection,
    tenant: Uuid,
    base_model: Uuid,
    new: &NewVersion,
) -> Result<Uuid, RegisterError> {
    let parent = match &new.parent {
        None => None,
        Some(name) => {
            let found = find(connection, base_model, name).await?;
            Some(found.ok_or_else(|| RegisterError::UnknownParent(name.clone()))?.id)
        }
    };
    let id = Uuid::now_v7();
    sqlx::query!(
        "INSERT INTO base_model_versions
             (id, tenant, base_model, version, uri, digest, size, parent, licence, retires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        id,
        tenant,
        base_model,
        new.version,
        new.uri,
        new.digest,
        new.size,
        parent,
        new.licence,
        new.retires_at,
    )
    .execute(connection)
    .await?;
    Ok(id)
}

/// A base model's version of this name.
pub(in crate::service::database) async fn find(
    connection: &mut PgConnection,
    base_model: Uuid,
    version: &str,
) -> Result<Option<BaseVersion>, sqlx::Error> {
    select!("WHERE v.base_model = $1 AND v.version = $2", base_model, version)
        .fetch_optional(connection)
        .await
}

/// A version of a tenant's base model.
///
/// # Errors
/// From the database.
pub async fn get(
    database: &Database,
    tenant: Uuid,
    model: &str,
    version: &str,
) -> Result<Option<BaseVersion>, sqlx::Error> {
    select!("WHERE m.tenant = $1 AND m.name = $2 AND v.version = $3", tenant, model, version)
        .fetch_optional(&mut *database.scope(tenant).await?)
        .await
}

/// Versions of a tenant's base model after the given one, newest arrival first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: Uuid,
    model: &str,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<BaseVersion>, sqlx::Error> {
    select!(
        "WHERE m.tenant = $1 AND m.name = $2 AND ($3::uuid IS NULL OR v.id < $3)
         ORDER BY v.id DESC LIMIT $4",
        tenant,
        model,
        after,
        limit,
    )
    .fetch_all(&mut *database.scope(tenant).await?)
    .await
}
