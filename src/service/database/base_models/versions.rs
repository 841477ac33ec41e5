//! Versions of base models: registered once, never changed; an arrival makes a retune.

use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::lock;
use crate::{
    contract::{
        events::{AuditAction, EventKind},
        ids::{BaseModelId, BaseVersionId, RetuneId, TenantId},
    },
    service::{
        database::{
            Database, audit_events, events,
            fine_tunes::dependents::{self, Dependents},
            retunes::begin::{self, Occasion, Target},
        },
        domain::{
            access::Caller,
            registry::{
                base_models::BaseVersion,
                fine_tunes::On,
                retunes::{Automatic, Reason},
            },
        },
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

/// The columns of [`BaseVersion`], flat.
struct Row {
    id: BaseVersionId,
    base_model: String,
    version: String,
    uri: String,
    digest: String,
    size: i64,
    parent: Option<String>,
    licence: Option<String>,
    retires_at: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
    retune: Option<Uuid>,
}

impl From<Row> for BaseVersion {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            base_model: row.base_model,
            version: row.version,
            uri: row.uri,
            digest: row.digest,
            size: row.size,
            parent: row.parent,
            licence: row.licence,
            retires_at: row.retires_at,
            created_at: row.created_at,
            retune: row.retune.map(RetuneId),
        }
    }
}

/// `SELECT` of [`Row`]s with the given ending, so that the columns are named once.
macro_rules! select {
    ($ending:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
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
    events::record(connection, tenant, &subject, EventKind::BaseModelVersionCreated, data).await?;
    let wanted = Dependents {
        base_model: Some(base_model),
        on: Some(On::NewVersion),
        ..Dependents::of(tenant)
    };
    let version = by_id(connection, id).await?;
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
    let version = by_id(connection, id).await?;
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
            let found = find(connection, base_model, name).await?;
            Some(found.ok_or_else(|| RegisterError::UnknownParent(name.clone()))?.id)
        }
    };
    let id = BaseVersionId::generate();
    sqlx::query!(
        "INSERT INTO base_model_versions
             (id, tenant, base_model, version, uri, digest, size, parent, licence, retires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        id.0,
        tenant.0,
        base_model.0,
        new.version,
        new.uri,
        new.digest,
        new.size,
        parent.map(Uuid::from),
        new.licence,
        new.retires_at,
    )
    .execute(connection)
    .await?;
    Ok(id)
}

async fn by_id(
    connection: &mut PgConnection,
    id: BaseVersionId,
) -> Result<BaseVersion, sqlx::Error> {
    Ok(select!("WHERE v.id = $1", id.0).fetch_one(connection).await?.into())
}

/// A base model's version of this name.
pub(in crate::service::database) async fn find(
    connection: &mut PgConnection,
    base_model: BaseModelId,
    version: &str,
) -> Result<Option<BaseVersion>, sqlx::Error> {
    let row = select!("WHERE v.base_model = $1 AND v.version = $2", base_model.0, version);

    Ok(row.fetch_optional(connection).await?.map(BaseVersion::from))
}

/// A version of a tenant's base model.
///
/// # Errors
/// From the database.
pub async fn get(
    database: &Database,
    tenant: TenantId,
    model: &str,
    version: &str,
) -> Result<Option<BaseVersion>, sqlx::Error> {
    let row =
        select!("WHERE m.tenant = $1 AND m.name = $2 AND v.version = $3", tenant.0, model, version);

    Ok(row.fetch_optional(&mut *database.scope(tenant).await?).await?.map(BaseVersion::from))
}

/// Versions of a tenant's base model after the given one, newest arrival first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    model: &str,
    after: Option<BaseVersionId>,
    limit: i64,
) -> Result<Vec<BaseVersion>, sqlx::Error> {
    let rows = select!(
        "WHERE m.tenant = $1 AND m.name = $2 AND ($3::uuid IS NULL OR v.id < $3)
         ORDER BY v.id DESC LIMIT $4",
        tenant.0,
        model,
        after.map(Uuid::from),
        limit,
    )
    .fetch_all(&mut *database.scope(tenant).await?)
    .await?;

    Ok(rows.into_iter().map(BaseVersion::from).collect())
}
