//! Leases and waits of all transfers after the database was away, or its clock was set back: see `registry::clock`.

use std::time::Duration;

use sqlx::PgConnection;

/// Every lease that held `passed` seconds ago holds for its whole length again; how many there are.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn renew_all(
    connection: &mut PgConnection,
    passed: f64,
    lease: Duration,
) -> Result<u64, sqlx::Error> {
    let renewed = sqlx::query!(
        "UPDATE transfers
         SET lease_expires_at = now() + make_interval(secs => $2),
             available_at = available_at + (now() + make_interval(secs => $2) - lease_expires_at)
         WHERE status IN ('running', 'cancelling')
           AND lease_expires_at > now() - make_interval(secs => $1)
           AND lease_expires_at < now() + make_interval(secs => $2)",
        passed,
        lease.as_secs_f64(),
    )
    .execute(connection)
    .await?;

    Ok(renewed.rows_affected())
}

/// Sets every time that a transfer waits for, or counts from, back by so many seconds.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn set_back(
    connection: &mut PgConnection,
    seconds: f64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE transfers
         SET available_at = available_at - make_interval(secs => $1),
             lease_expires_at = lease_expires_at - make_interval(secs => $1),
             unreadable_since = unreadable_since - make_interval(secs => $1),
             evaluation_deadline = evaluation_deadline - make_interval(secs => $1)
         WHERE status IN ('queued', 'running', 'cancelling', 'awaiting_evaluation')",
        seconds,
    )
    .execute(&mut *connection)
    .await?;

    // Tenants are served in order of this; whatever began later than now began before everything that follows.
    sqlx::query!("UPDATE transfers SET started_at = now() WHERE started_at > now()")
        .execute(connection)
        .await?;

    Ok(())
}
