//! What lives on a thing that is to be removed, and the removal itself, within a transaction of a use case.

use sqlx::PgConnection;

use crate::contract::ids::{BaseModelId, FineTuneId, TenantId, TransferId};

/// What has come of a transfer and is registered, in words; `None` where nothing is.
pub(in crate::service) async fn use_of_transfer(
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

pub(in crate::service) async fn delete_transfer(
    connection: &mut PgConnection,
    id: TransferId,
) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM transfers WHERE id = $1", id.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Locks the transfers of a fine-tune in the order of their ids; whether one has not ended.
pub(in crate::service) async fn lock_transfers_of_fine_tune(
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

/// Deletes a fine-tune with its versions and aliases; its transfers stay and are nobody's.
pub(in crate::service) async fn delete_fine_tune(
    connection: &mut PgConnection,
    id: FineTuneId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM fine_tune_alias_moves WHERE fine_tune = $1",
        id.0
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("DELETE FROM fine_tune_aliases WHERE fine_tune = $1", id.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        "DELETE FROM fine_tune_protected_aliases WHERE fine_tune = $1",
        id.0
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("DELETE FROM fine_tune_versions WHERE fine_tune = $1", id.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        "UPDATE transfers SET fine_tune = NULL WHERE fine_tune = $1",
        id.0
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("DELETE FROM fine_tunes WHERE id = $1", id.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// What lives on the versions of a base model, or on one of them: in words; `None` where nothing does. A fine-tune
/// of the base model lives on all of it. The caller has locked the base model.
pub(in crate::service) async fn use_of_base_model(
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

/// Deletes the versions of a base model, or one of them; how many. What refers to them, and does not live on them,
/// forgets them.
pub(in crate::service) async fn delete_versions(
    connection: &mut PgConnection,
    base_model: BaseModelId,
    version: Option<&str>,
) -> Result<u64, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "SELECT id FROM base_model_versions
         WHERE base_model = $1 AND ($2::text IS NULL OR version = $2)",
        base_model.0,
        version,
    )
    .fetch_all(&mut *connection)
    .await?;

    sqlx::query!(
        "UPDATE transfers SET base_version = NULL WHERE base_version = ANY ($1)",
        &ids
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "UPDATE retunes SET base_model = NULL, base_version = NULL WHERE base_version = ANY ($1)",
        &ids
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "DELETE FROM base_model_alias_moves WHERE version = ANY ($1)",
        &ids
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "UPDATE base_model_alias_moves SET previous = NULL WHERE previous = ANY ($1)",
        &ids
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "UPDATE base_model_versions SET parent = NULL WHERE parent = ANY ($1)",
        &ids
    )
    .execute(&mut *connection)
    .await?;
    let deleted = sqlx::query!("DELETE FROM base_model_versions WHERE id = ANY ($1)", &ids)
        .execute(connection)
        .await?;

    Ok(deleted.rows_affected())
}

/// Deletes a base model on which nothing lives, with all that was announced for it.
pub(in crate::service) async fn delete_base_model(
    connection: &mut PgConnection,
    id: BaseModelId,
) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM base_model_aliases WHERE base_model = $1", id.0)
        .execute(&mut *connection)
        .await?;
    delete_versions(&mut *connection, id, None).await?;
    sqlx::query!("DELETE FROM arrivals WHERE base_model = $1", id.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("DELETE FROM inbound_tokens WHERE base_model = $1", id.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("DELETE FROM base_models WHERE id = $1", id.0)
        .execute(connection)
        .await?;
    Ok(())
}
