//! Where aliases of base models have stood.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    contract::ids::{BaseAliasMoveId, BaseModelId, BaseVersionId, TenantId},
    service::{database::Database, domain::registry::base_models::BaseAliasMove},
};

/// An alias, by name.
#[derive(Clone, Copy, Debug)]
pub struct NamedAlias<'a> {
    /// Name of the base model.
    pub model: &'a str,
    pub alias: &'a str,
}

/// Moves of an alias of a tenant's base model before the given one, newest first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    of: NamedAlias<'_>,
    after: Option<BaseAliasMoveId>,
    limit: i64,
) -> Result<Vec<BaseAliasMove>, sqlx::Error> {
    sqlx::query_as!(
        BaseAliasMove,
        r#"SELECT h.id, m.name AS base_model, h.alias, v.version, p.version AS "previous?", h.moved_at
           FROM base_model_alias_moves h
           JOIN base_models m ON m.id = h.base_model
           JOIN base_model_versions v ON v.id = h.version
           LEFT JOIN base_model_versions p ON p.id = h.previous
           WHERE m.tenant = $1 AND m.name = $2 AND h.alias = $3 AND ($4::uuid IS NULL OR h.id < $4)
           ORDER BY h.id DESC LIMIT $5"#,
        tenant.0,
        of.model,
        of.alias,
        after.map(Uuid::from),
        limit,
    )
    .fetch_all(&mut *database.scope(tenant).await?)
    .await
}

/// A line of history to be written.
pub(in crate::service) struct NewMove<'a> {
    pub tenant: TenantId,
    pub base_model: BaseModelId,
    pub alias: &'a str,
    pub version: BaseVersionId,
    /// Where the alias stood before, if anywhere.
    pub previous: Option<BaseVersionId>,
}

/// Notes that an alias has moved.
pub(in crate::service) async fn insert(
    connection: &mut PgConnection,
    new: &NewMove<'_>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO base_model_alias_moves (id, tenant, base_model, alias, version, previous)
         VALUES ($1, $2, $3, $4, $5, $6)",
        BaseAliasMoveId::generate().0,
        new.tenant.0,
        new.base_model.0,
        new.alias,
        new.version.0,
        new.previous.map(Uuid::from),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes the moves of aliases to these versions.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn delete_to(
    connection: &mut PgConnection,
    ids: &[BaseVersionId],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM base_model_alias_moves WHERE version = ANY ($1)",
        ids as &[BaseVersionId]
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes moves of aliases forget that they were from these versions.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn forget_previous(
    connection: &mut PgConnection,
    ids: &[BaseVersionId],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE base_model_alias_moves SET previous = NULL WHERE previous = ANY ($1)",
        ids as &[BaseVersionId]
    )
    .execute(connection)
    .await?;
    Ok(())
}
