//! Versions of a base model that are removed, within a transaction of a use case.

use sqlx::PgConnection;

use crate::contract::ids::{BaseModelId, BaseVersionId};

/// What lives on the versions of a base model, or on one of them: in words; `None` where nothing does. A fine-tune
/// of the base model lives on all of it. The caller has locked the base model.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn use_of(
    connection: &mut PgConnection,
    base_model: BaseModelId,
    version: Option<&str>,
) -> Result<Option<String>, sqlx::Error> {
    let found = sqlx::query_scalar!(
        "WITH concerned AS (
             SELECT id, version FROM base_model_versions
             WHERE base_model = $1 AND ($2::text IS NULL OR version = $2)
         )
         SELECT 'the fine-tune ' || f.name || ' is tuned from it' AS use
         FROM fine_tunes f
         WHERE f.base_version IN (SELECT id FROM concerned) OR ($2::text IS NULL AND f.base_model = $1)
         UNION ALL
         SELECT 'version ' || v.number || ' of the fine-tune ' || f.name || ' stands on it'
         FROM fine_tune_versions v JOIN fine_tunes f ON f.id = v.fine_tune
         WHERE v.base_version IN (SELECT id FROM concerned)
         UNION ALL
         SELECT 'the transfer ' || t.id || ' onto it has not ended'
         FROM transfers t
         WHERE t.base_version IN (SELECT id FROM concerned) AND t.finished_at IS NULL
         UNION ALL
         SELECT 'the alias ' || a.alias || ' stands on it'
         FROM base_model_aliases a
         WHERE $2::text IS NOT NULL AND a.version IN (SELECT id FROM concerned)
         LIMIT 1",
        base_model.0,
        version,
    )
    .fetch_optional(connection)
    .await?;

    Ok(found.flatten())
}

/// The versions of a base model, or one of them.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn ids_of(
    connection: &mut PgConnection,
    base_model: BaseModelId,
    version: Option<&str>,
) -> Result<Vec<BaseVersionId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "SELECT id FROM base_model_versions
         WHERE base_model = $1 AND ($2::text IS NULL OR version = $2)",
        base_model.0,
        version,
    )
    .fetch_all(connection)
    .await?;

    Ok(ids.into_iter().map(BaseVersionId).collect())
}

/// Makes versions forget that they were made from these.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn forget_parents(
    connection: &mut PgConnection,
    ids: &[BaseVersionId],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE base_model_versions SET parent = NULL WHERE parent = ANY ($1)",
        ids as &[BaseVersionId]
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes versions; how many.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn delete(
    connection: &mut PgConnection,
    ids: &[BaseVersionId],
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "DELETE FROM base_model_versions WHERE id = ANY ($1)",
        ids as &[BaseVersionId]
    )
    .execute(connection)
    .await?;

    Ok(deleted.rows_affected())
}
