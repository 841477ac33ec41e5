//! Base models; their versions and aliases in files of their own.
//!
//! Whoever adds a version, moves an alias or changes a fine-tune locks the base model's row first:
//! so no fine-tune misses a version, and none is carried over twice. Locks are taken in this order:
//! base model, transfers by id, fine-tune, retunes by id.

pub mod aliases;
pub mod cards;
pub mod versions;

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Database;
use crate::{
    contract::ids::{BaseModelId, TenantId},
    service::domain::registry::{base_models::BaseModel, cards::SuccessorPolicy},
};

/// What a base model's owner says of it.
#[derive(Clone, Debug)]
pub struct Description {
    pub description: Option<String>,
    pub licence: Option<String>,
    /// An object of strings.
    pub metadata: Value,
    pub successors: SuccessorPolicy,
}

/// `SELECT` of [`BaseModel`]s with the given ending, so that the columns are named once.
macro_rules! select {
    ($ending:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            BaseModel,
            r#"SELECT m.id, m.name, m.description, m.licence, m.metadata,
                      m.successors AS "successors: SuccessorPolicy",
                      (SELECT coalesce(jsonb_object_agg(a.alias, v.version), '{}')
                       FROM base_model_aliases a JOIN base_model_versions v ON v.id = a.version
                       WHERE a.base_model = m.id) AS "aliases!",
                      (SELECT count(*) FROM base_model_versions v
                       WHERE v.base_model = m.id) AS "versions!",
                      m.created_at, m.updated_at
               FROM base_models m "# + $ending
            $(, $argument)*
        )
    };
}

/// Registers a base model, or describes it anew; true where it is new.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn put(
    connection: &mut PgConnection,
    tenant: TenantId,
    name: &str,
    new: &Description,
) -> Result<(BaseModel, bool), sqlx::Error> {
    let id = BaseModelId::generate();
    let row = sqlx::query!(
        "INSERT INTO base_models AS m (id, tenant, name, description, licence, metadata, successors)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (tenant, name) DO UPDATE
         SET description = $4, licence = $5, metadata = $6, successors = $7,
             card_due_at = CASE WHEN m.successors <> $7 THEN now() ELSE m.card_due_at END,
             revision = m.revision + ((m.description, m.licence, m.metadata, m.successors)
                                      IS DISTINCT FROM ($4, $5, $6, $7))::int,
             updated_at = CASE WHEN (m.description, m.licence, m.metadata, m.successors)
                                    IS DISTINCT FROM ($4, $5, $6, $7)
                               THEN now() ELSE m.updated_at END
         RETURNING id",
        id.0,
        tenant.0,
        name,
        new.description,
        new.licence,
        new.metadata,
        new.successors as SuccessorPolicy,
    )
    .fetch_one(&mut *connection)
    .await?;

    let model = select!("WHERE m.id = $1", row.id)
        .fetch_one(connection)
        .await?;

    Ok((model, row.id == id.0))
}

/// A tenant's base model, if it has one of this name.
///
/// # Errors
/// From the database.
pub async fn get(
    database: &Database,
    tenant: TenantId,
    name: &str,
) -> Result<Option<BaseModel>, sqlx::Error> {
    select!("WHERE m.tenant = $1 AND m.name = $2", tenant.0, name)
        .fetch_optional(&mut *database.scope(tenant).await?)
        .await
}

/// A tenant's base models after the given one, newest first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    after: Option<BaseModelId>,
    limit: i64,
) -> Result<Vec<BaseModel>, sqlx::Error> {
    select!(
        "WHERE m.tenant = $1 AND ($2::uuid IS NULL OR m.id < $2) ORDER BY m.id DESC LIMIT $3",
        tenant.0,
        after.map(Uuid::from),
        limit,
    )
    .fetch_all(&mut *database.scope(tenant).await?)
    .await
}

/// Its id, with the row locked until the transaction ends: see the module.
pub(in crate::service) async fn lock(
    connection: &mut PgConnection,
    tenant: TenantId,
    name: &str,
) -> Result<Option<BaseModelId>, sqlx::Error> {
    let id = sqlx::query_scalar!(
        "SELECT id FROM base_models WHERE tenant = $1 AND name = $2 FOR NO KEY UPDATE",
        tenant.0,
        name,
    )
    .fetch_optional(connection)
    .await?;

    Ok(id.map(BaseModelId))
}

/// Deletes a base model of which nothing is left but its description.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn delete(
    connection: &mut PgConnection,
    id: BaseModelId,
) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM base_models WHERE id = $1", id.0)
        .execute(connection)
        .await?;
    Ok(())
}
