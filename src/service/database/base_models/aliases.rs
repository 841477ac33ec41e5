//! Aliases of base models.

pub mod moves;

use sqlx::PgConnection;

use crate::{
    contract::ids::{BaseModelId, BaseVersionId, TenantId},
    service::{database::Database, domain::registry::base_models::BaseAlias},
};

/// `SELECT` of [`BaseAlias`]es with the given ending.
macro_rules! select {
    ($ending:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            BaseAlias,
            "SELECT m.name AS base_model, a.alias, v.version, v.uri, v.digest, a.moved_at
             FROM base_model_aliases a
             JOIN base_models m ON m.id = a.base_model
             JOIN base_model_versions v ON v.id = a.version " + $ending
            $(, $argument)*
        )
    };
}

/// Where an alias of a tenant's base model stands.
///
/// # Errors
/// From the database.
pub async fn get(
    database: &Database,
    tenant: TenantId,
    model: &str,
    alias: &str,
) -> Result<Option<BaseAlias>, sqlx::Error> {
    select!(
        "WHERE m.tenant = $1 AND m.name = $2 AND a.alias = $3",
        tenant.0,
        model,
        alias
    )
    .fetch_optional(&mut *database.scope(tenant).await?)
    .await
}

/// An alias that is there.
pub(in crate::service) async fn find(
    connection: &mut PgConnection,
    base_model: BaseModelId,
    alias: &str,
) -> Result<BaseAlias, sqlx::Error> {
    select!(
        "WHERE a.base_model = $1 AND a.alias = $2",
        base_model.0,
        alias
    )
    .fetch_one(connection)
    .await
}

/// The version where an alias stands.
pub(in crate::service) struct Standing {
    pub id: BaseVersionId,
    pub version: String,
}

/// Where an alias stands, if anywhere.
pub(in crate::service) async fn standing(
    connection: &mut PgConnection,
    base_model: BaseModelId,
    alias: &str,
) -> Result<Option<Standing>, sqlx::Error> {
    sqlx::query_as!(
        Standing,
        "SELECT v.id, v.version FROM base_model_aliases a JOIN base_model_versions v ON v.id = a.version
         WHERE a.base_model = $1 AND a.alias = $2",
        base_model.0,
        alias,
    )
    .fetch_optional(connection)
    .await
}

/// Lets an alias stand on a version, whether it is new or not.
pub(in crate::service) async fn set(
    connection: &mut PgConnection,
    tenant: TenantId,
    base_model: BaseModelId,
    alias: &str,
    version: BaseVersionId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO base_model_aliases (base_model, alias, tenant, version) VALUES ($1, $2, $3, $4)
         ON CONFLICT (base_model, alias) DO UPDATE SET version = $4, moved_at = now()",
        base_model.0,
        alias,
        tenant.0,
        version.0,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes the aliases of a base model.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn delete_of(
    connection: &mut PgConnection,
    id: BaseModelId,
) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM base_model_aliases WHERE base_model = $1", id.0)
        .execute(connection)
        .await?;
    Ok(())
}
