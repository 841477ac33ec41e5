//! Fine-tunes; their versions and aliases in files of their own, and whom of them an occasion concerns.

pub mod aliases;
pub mod dependents;
pub mod lineage;
pub(in crate::service) mod locked;
pub mod standing;
pub mod versions;

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Database;
use crate::{
    contract::ids::{BaseModelId, BaseVersionId, FineTuneId, TenantId},
    service::domain::registry::fine_tunes::{FineTune, Mode, On, Policy},
};

/// What a fine-tune's owner says of it; checked.
#[derive(Clone, Debug)]
pub struct Content {
    pub base_model: String,
    pub base_version: String,
    pub trajectory: String,
    pub data: Option<Value>,
    pub spec: Value,
    pub policy: Policy,
}

/// The columns of [`FineTune`], flat.
struct Row {
    id: FineTuneId,
    name: String,
    base_model: String,
    base_version: String,
    trajectory: String,
    data: Option<Value>,
    spec: Value,
    policy_on: On,
    policy_alias: Option<String>,
    policy_mode: Mode,
    aliases: Value,
    protected_aliases: Vec<String>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    revision: i64,
}

/// `SELECT` of [`Row`]s with the given ending, so that the columns are named once.
macro_rules! select {
    ($ending:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"SELECT f.id, f.name, m.name AS base_model, b.version AS base_version, f.trajectory,
                      f.data, f.spec, f.policy_on AS "policy_on: On", f.policy_alias,
                      f.policy_mode AS "policy_mode: Mode",
                      (SELECT coalesce(jsonb_object_agg(a.alias, v.number), '{}')
                       FROM fine_tune_aliases a JOIN fine_tune_versions v ON v.id = a.version
                       WHERE a.fine_tune = f.id) AS "aliases!",
                      ARRAY (SELECT p.alias FROM fine_tune_protected_aliases p
                             WHERE p.fine_tune = f.id ORDER BY p.alias) AS "protected_aliases!",
                      f.created_at, f.updated_at, f.revision
               FROM fine_tunes f
               JOIN base_models m ON m.id = f.base_model
               JOIN base_model_versions b ON b.id = f.base_version "# + $ending
            $(, $argument)*
        )
    };
}

impl From<Row> for FineTune {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            name: row.name,
            base_model: row.base_model,
            base_version: row.base_version,
            trajectory: row.trajectory,
            data: row.data,
            spec: row.spec,
            policy: Policy {
                on: row.policy_on,
                alias: row.policy_alias,
                mode: row.policy_mode,
            },
            aliases: row.aliases,
            protected_aliases: row.protected_aliases,
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        }
    }
}

/// What a fine-tune was tuned from.
#[derive(Clone, Copy, Debug)]
pub(in crate::service) struct Base {
    pub model: BaseModelId,
    pub version: BaseVersionId,
}

/// False where one of this name is there already.
pub(in crate::service) async fn insert(
    connection: &mut PgConnection,
    tenant: TenantId,
    name: &str,
    base: Base,
    content: &Content,
) -> Result<bool, sqlx::Error> {
    let policy = &content.policy;
    let done = sqlx::query!(
        "INSERT INTO fine_tunes (id, tenant, name, base_model, base_version, trajectory, data, spec,
                                 policy_on, policy_alias, policy_mode)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (tenant, name) DO NOTHING",
        FineTuneId::generate().0,
        tenant.0,
        name,
        base.model.0,
        base.version.0,
        content.trajectory,
        content.data,
        content.spec,
        policy.on as On,
        policy.alias,
        policy.mode as Mode,
    )
    .execute(connection)
    .await?;

    Ok(done.rows_affected() == 1)
}

/// The same content again is no change.
pub(in crate::service) async fn update(
    connection: &mut PgConnection,
    id: FineTuneId,
    base: Base,
    content: &Content,
) -> Result<(), sqlx::Error> {
    let policy = &content.policy;
    sqlx::query!(
        "UPDATE fine_tunes
         SET base_model = $2, base_version = $3, trajectory = $4, data = $5, spec = $6,
             policy_on = $7, policy_alias = $8, policy_mode = $9,
             revision = revision + 1, updated_at = now()
         WHERE id = $1
           AND (base_model, base_version, trajectory, data, spec, policy_on, policy_alias, policy_mode)
               IS DISTINCT FROM ($2, $3, $4, $5, $6, $7, $8, $9)",
        id.0,
        base.model.0,
        base.version.0,
        content.trajectory,
        content.data,
        content.spec,
        policy.on as On,
        policy.alias,
        policy.mode as Mode,
    )
    .execute(connection)
    .await?;

    Ok(())
}

/// The fine-tune, with its row locked until the transaction ends. References to it stay possible.
pub(in crate::service) async fn lock(
    connection: &mut PgConnection,
    tenant: TenantId,
    name: &str,
) -> Result<Option<FineTune>, sqlx::Error> {
    let row = select!(
        "WHERE f.tenant = $1 AND f.name = $2 FOR NO KEY UPDATE OF f",
        tenant.0,
        name
    );
    Ok(row.fetch_optional(connection).await?.map(FineTune::from))
}

/// A tenant's fine-tune of this name, not locked.
pub(in crate::service) async fn named(
    connection: &mut PgConnection,
    tenant: TenantId,
    name: &str,
) -> Result<Option<FineTune>, sqlx::Error> {
    let row = select!("WHERE f.tenant = $1 AND f.name = $2", tenant.0, name);
    Ok(row.fetch_optional(connection).await?.map(FineTune::from))
}

/// A fine-tune that is there.
pub(in crate::service) async fn by_id(
    connection: &mut PgConnection,
    id: FineTuneId,
) -> Result<FineTune, sqlx::Error> {
    Ok(select!("WHERE f.id = $1", id.0)
        .fetch_one(connection)
        .await?
        .into())
}

/// A tenant's fine-tune, if it has one of this name.
///
/// # Errors
/// From the database.
pub async fn get(
    database: &Database,
    tenant: TenantId,
    name: &str,
) -> Result<Option<FineTune>, sqlx::Error> {
    let row = select!("WHERE f.tenant = $1 AND f.name = $2", tenant.0, name);
    Ok(row
        .fetch_optional(&mut *database.scope(tenant).await?)
        .await?
        .map(FineTune::from))
}

/// A tenant's fine-tunes after the given one, perhaps of one base model alone, newest first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    base_model: Option<&str>,
    after: Option<FineTuneId>,
    limit: i64,
) -> Result<Vec<FineTune>, sqlx::Error> {
    let rows = select!(
        "WHERE f.tenant = $1 AND ($2::text IS NULL OR m.name = $2)
           AND ($3::uuid IS NULL OR f.id < $3)
         ORDER BY f.id DESC LIMIT $4",
        tenant.0,
        base_model,
        after.map(Uuid::from),
        limit,
    );
    Ok(rows
        .fetch_all(&mut *database.scope(tenant).await?)
        .await?
        .into_iter()
        .map(FineTune::from)
        .collect())
}

/// Deletes a fine-tune of which nothing is left but its name.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn delete(
    connection: &mut PgConnection,
    id: FineTuneId,
) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM fine_tunes WHERE id = $1", id.0)
        .execute(connection)
        .await?;
    Ok(())
}
