//! Attempts at transfers, which a trigger on `transfers` writes.

use super::Database;

/// Deletes attempts that ended so many days ago; how many.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn prune(database: &Database, days: i32) -> Result<u64, sqlx::Error> {
    let pruned = sqlx::query!(
        "DELETE FROM attempts WHERE ended_at < now() - make_interval(days => $1)",
        days
    )
    .execute(&database.pool)
    .await?;

    Ok(pruned.rows_affected())
}
