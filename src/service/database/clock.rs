//! The database's time, and the row in which whoever claims, beats or sweeps leaves a sign of life.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::Database;

/// What time it is for the database.
///
/// # Errors
/// From the database.
pub async fn now(database: &Database) -> Result<OffsetDateTime, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#)
        .fetch_one(&database.pool)
        .await
}

/// Seconds since the last sign of life; `None` where there was none.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn since_last_sign(
    database: &Database,
) -> Result<Option<f64>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT extract(epoch FROM clock_timestamp() - seen_at)::double precision AS "passed!"
           FROM service_clock"#
    )
    .fetch_optional(&database.pool)
    .await
}

/// Leaves a sign of life; seconds since the one before, and `None` where there is no row for it.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn sign(
    connection: &mut PgConnection,
) -> Result<Option<f64>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH last AS (SELECT seen_at FROM service_clock FOR UPDATE)
           UPDATE service_clock c SET seen_at = clock_timestamp() FROM last
           RETURNING extract(epoch FROM c.seen_at - last.seen_at)::double precision AS "passed!""#
    )
    .fetch_optional(connection)
    .await
}

/// Makes the row for signs of life.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn insert(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("INSERT INTO service_clock DEFAULT VALUES ON CONFLICT DO NOTHING")
        .execute(connection)
        .await?;
    Ok(())
}
