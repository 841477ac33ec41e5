//! Which aliases of fine-tunes only administrators move.

use sqlx::PgConnection;

use crate::contract::ids::{FineTuneId, TenantId};

/// Whether an alias is protected. Under the fine-tune's lock that cannot change.
pub(in crate::service) async fn holds(
    connection: &mut PgConnection,
    fine_tune: FineTuneId,
    alias: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM fine_tune_protected_aliases
                          WHERE fine_tune = $1 AND alias = $2) AS "holds!""#,
        fine_tune.0,
        alias,
    )
    .fetch_one(connection)
    .await
}

/// Protects an alias; false where it is protected already.
pub(in crate::service) async fn begin(
    connection: &mut PgConnection,
    tenant: TenantId,
    fine_tune: FineTuneId,
    alias: &str,
) -> Result<bool, sqlx::Error> {
    let begun = sqlx::query!(
        "INSERT INTO fine_tune_protected_aliases (fine_tune, alias, tenant) VALUES ($1, $2, $3)
         ON CONFLICT DO NOTHING",
        fine_tune.0,
        alias,
        tenant.0,
    )
    .execute(connection)
    .await?;
    Ok(begun.rows_affected() == 1)
}

/// Ends every protection of a fine-tune that is deleted.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn delete_of(
    connection: &mut PgConnection,
    id: FineTuneId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM fine_tune_protected_aliases WHERE fine_tune = $1",
        id.0
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the protection of an alias; false where there is none.
pub(in crate::service) async fn end(
    connection: &mut PgConnection,
    fine_tune: FineTuneId,
    alias: &str,
) -> Result<bool, sqlx::Error> {
    let ended = sqlx::query!(
        "DELETE FROM fine_tune_protected_aliases WHERE fine_tune = $1 AND alias = $2",
        fine_tune.0,
        alias,
    )
    .execute(connection)
    .await?;
    Ok(ended.rows_affected() == 1)
}
