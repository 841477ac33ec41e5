//! Transfers that are removed, and what they forget that is, within a transaction of a use case.

use sqlx::PgConnection;

use crate::contract::ids::{BaseVersionId, FineTuneId, TenantId, TransferId};

/// What has come of a transfer and is registered, in words; `None` where nothing is.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn use_of(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: TransferId,
) -> Result<Option<String>, sqlx::Error> {
    let found = sqlx::query_scalar!(
        "SELECT 'version ' || v.number || ' of the fine-tune ' || f.name || ' is its result' AS use
         FROM fine_tune_versions v JOIN fine_tunes f ON f.id = v.fine_tune
         WHERE v.transfer = $2 AND v.tenant = $1
         UNION ALL
         SELECT 'version ' || v.version || ' of the base model ' || m.name || ' is its result'
         FROM transfers t
         JOIN base_model_versions v ON v.tenant = t.tenant AND rtrim(v.uri, '/') = rtrim(t.result_uri, '/')
         JOIN base_models m ON m.id = v.base_model
         WHERE t.id = $2 AND t.tenant = $1
         UNION ALL
         SELECT 'the fine-tune ' || f.name || ' has its result for a trajectory'
         FROM transfers t
         JOIN fine_tunes f ON f.tenant = t.tenant AND rtrim(f.trajectory, '/') = rtrim(t.result_uri, '/')
         WHERE t.id = $2 AND t.tenant = $1
         LIMIT 1",
        tenant.0,
        id.0,
    )
    .fetch_optional(connection)
    .await?;

    Ok(found.flatten())
}

/// Deletes a transfer, with its events.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn delete(
    connection: &mut PgConnection,
    id: TransferId,
) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM transfers WHERE id = $1", id.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Locks the transfers of a fine-tune in the order of their ids; whether one has not ended.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn lock_of_fine_tune(
    connection: &mut PgConnection,
    fine_tune: FineTuneId,
) -> Result<bool, sqlx::Error> {
    let unfinished = sqlx::query_scalar!(
        r#"SELECT finished_at IS NULL AS "unfinished!" FROM transfers
           WHERE fine_tune = $1 ORDER BY id FOR UPDATE"#,
        fine_tune.0
    )
    .fetch_all(connection)
    .await?;

    Ok(unfinished.contains(&true))
}

/// Makes the transfers of a fine-tune nobody's.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn forget_fine_tune(
    connection: &mut PgConnection,
    id: FineTuneId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE transfers SET fine_tune = NULL WHERE fine_tune = $1",
        id.0
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes transfers forget the versions that they are carried onto.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn forget_base_versions(
    connection: &mut PgConnection,
    ids: &[BaseVersionId],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE transfers SET base_version = NULL WHERE base_version = ANY ($1)",
        ids as &[BaseVersionId]
    )
    .execute(connection)
    .await?;
    Ok(())
}
