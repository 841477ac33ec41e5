//! Aliases of fine-tunes.

pub mod moves;
pub(in crate::service) mod protection;

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::versions::{self, Standing};
use crate::{
    contract::ids::{BaseModelId, BaseVersionId, FineTuneId, FineTuneVersionId, TenantId},
    service::{database::Database, domain::registry::fine_tunes::FineTuneAlias},
};

/// Where an alias stands, if anywhere.
pub(in crate::service) async fn standing(
    connection: &mut PgConnection,
    fine_tune: FineTuneId,
    alias: &str,
) -> Result<Option<Standing>, sqlx::Error> {
    sqlx::query_as!(
        Standing,
        "SELECT v.id, v.number FROM fine_tune_aliases a JOIN fine_tune_versions v ON v.id = a.version
         WHERE a.fine_tune = $1 AND a.alias = $2",
        fine_tune.0,
        alias,
    )
    .fetch_optional(connection)
    .await
}

/// Lets an alias stand on a version, whether it is new or not.
pub(in crate::service) async fn set(
    connection: &mut PgConnection,
    tenant: TenantId,
    fine_tune: FineTuneId,
    alias: &str,
    version: FineTuneVersionId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO fine_tune_aliases (fine_tune, alias, tenant, version) VALUES ($1, $2, $3, $4)
         ON CONFLICT (fine_tune, alias) DO UPDATE SET version = $4, moved_at = now()",
        fine_tune.0,
        alias,
        tenant.0,
        version.0,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A registered version of a base model, by its id and its name.
pub(in crate::service) struct Base {
    pub id: BaseVersionId,
    pub version: String,
}

/// The version of this base model on which the result under an alias stands, if it stands on one.
pub(in crate::service) async fn base_below(
    connection: &mut PgConnection,
    fine_tune: FineTuneId,
    alias: &str,
    base_model: BaseModelId,
) -> Result<Option<Base>, sqlx::Error> {
    sqlx::query_as!(
        Base,
        "SELECT b.id, b.version FROM fine_tune_aliases a
         JOIN fine_tune_versions v ON v.id = a.version
         JOIN base_model_versions b ON b.id = v.base_version
         WHERE a.fine_tune = $1 AND a.alias = $2 AND b.base_model = $3",
        fine_tune.0,
        alias,
        base_model.0,
    )
    .fetch_optional(connection)
    .await
}

/// Where an alias of a tenant's fine-tune stands.
///
/// # Errors
/// From the database.
pub async fn get(
    database: &Database,
    tenant: TenantId,
    fine_tune: &str,
    alias: &str,
) -> Result<Option<FineTuneAlias>, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    let id = sqlx::query_scalar!(
        "SELECT id FROM fine_tunes WHERE tenant = $1 AND name = $2",
        tenant.0,
        fine_tune,
    )
    .fetch_optional(&mut *scope)
    .await?;

    match id {
        Some(id) => show(&mut scope, id.into(), alias).await,
        None => Ok(None),
    }
}

/// An alias with the version where it stands, if it stands anywhere.
pub(in crate::service) async fn show(
    connection: &mut PgConnection,
    fine_tune: FineTuneId,
    alias: &str,
) -> Result<Option<FineTuneAlias>, sqlx::Error> {
    struct Row {
        version: FineTuneVersionId,
        moved_at: OffsetDateTime,
        protected: bool,
    }

    let row = sqlx::query_as!(
        Row,
        r#"SELECT a.version, a.moved_at,
                  EXISTS (SELECT FROM fine_tune_protected_aliases p
                          WHERE p.fine_tune = a.fine_tune AND p.alias = a.alias) AS "protected!"
           FROM fine_tune_aliases a WHERE a.fine_tune = $1 AND a.alias = $2"#,
        fine_tune.0,
        alias,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };

    let version = versions::by_id(connection, row.version).await?;

    Ok(Some(FineTuneAlias {
        alias: alias.to_owned(),
        moved_at: row.moved_at,
        protected: row.protected,
        version,
    }))
}

/// Deletes the aliases of a fine-tune.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn delete_of(
    connection: &mut PgConnection,
    id: FineTuneId,
) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM fine_tune_aliases WHERE fine_tune = $1", id.0)
        .execute(connection)
        .await?;
    Ok(())
}
