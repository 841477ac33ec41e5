//! Versions of base models: registered once, never changed.

pub(in crate::service) mod removal;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    contract::ids::{BaseModelId, BaseVersionId, RetuneId, TenantId},
    service::{
        database::Database,
        domain::registry::base_models::{BaseVersion, NewVersion},
    },
};

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

/// A version that is there.
pub(in crate::service) async fn by_id(
    connection: &mut PgConnection,
    id: BaseVersionId,
) -> Result<BaseVersion, sqlx::Error> {
    Ok(select!("WHERE v.id = $1", id.0)
        .fetch_one(connection)
        .await?
        .into())
}

/// A base model's version of this name.
pub(in crate::service) async fn find(
    connection: &mut PgConnection,
    base_model: BaseModelId,
    version: &str,
) -> Result<Option<BaseVersion>, sqlx::Error> {
    let row = select!(
        "WHERE v.base_model = $1 AND v.version = $2",
        base_model.0,
        version
    );

    Ok(row.fetch_optional(connection).await?.map(BaseVersion::from))
}

/// A version by its name and its base model.
pub(in crate::service) struct Named {
    pub version: String,
    pub base_model: BaseModelId,
}

/// The name and the base model of a version.
pub(in crate::service) async fn named(
    connection: &mut PgConnection,
    id: BaseVersionId,
) -> Result<Named, sqlx::Error> {
    sqlx::query_as!(
        Named,
        "SELECT version, base_model FROM base_model_versions WHERE id = $1",
        id.0
    )
    .fetch_one(connection)
    .await
}

/// Writes a version that is new; its id.
pub(in crate::service) async fn insert(
    connection: &mut PgConnection,
    tenant: TenantId,
    base_model: BaseModelId,
    new: &NewVersion,
    parent: Option<BaseVersionId>,
) -> Result<BaseVersionId, sqlx::Error> {
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
    let row = select!(
        "WHERE m.tenant = $1 AND m.name = $2 AND v.version = $3",
        tenant.0,
        model,
        version
    );

    Ok(row
        .fetch_optional(&mut *database.scope(tenant).await?)
        .await?
        .map(BaseVersion::from))
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
