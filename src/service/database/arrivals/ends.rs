//! What a look came to, written under the lease token.

use std::time::Duration;

use sqlx::PgConnection;

use super::{Claimed, Database};
use crate::service::domain::{
    leases::{Lease, RetryPolicy},
    registry::arrivals::ArrivalStatus,
};

/// Writes that a look was in vain: to be repeated later, or true where it was waited for long enough,
/// and the lease kept. `None` when the lease is lost.
pub(in crate::service) async fn put_off(
    connection: &mut PgConnection,
    held: &Lease<Claimed>,
    reason: &str,
    policy: RetryPolicy,
) -> Result<Option<bool>, sqlx::Error> {
    // The last look is taken when the time is up.
    sqlx::query_scalar!(
        r#"UPDATE arrivals
           SET lease_token = CASE WHEN now() >= retry_since + make_interval(secs => $3)
                                  THEN lease_token END,
               next_look_at = CASE WHEN announcements > announcements_seen THEN now()
                                   ELSE least(now() + make_interval(secs => $4),
                                              greatest(now(), retry_since + make_interval(secs => $3)))
                              END,
               reason = $5
           WHERE id = $1 AND lease_token = $2
           RETURNING lease_token IS NOT NULL AS "over!""#,
        held.id.0,
        held.token.0,
        policy.give_up.as_secs_f64(),
        policy.scattered_wait_after(held.looks),
        reason,
    )
    .fetch_optional(connection)
    .await
}

/// Gives the lease back: the look was broken off and does not count.
///
/// # Errors
/// From the database; the lease then runs out.
pub async fn release(database: &Database, held: &Lease<Claimed>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE arrivals SET lease_token = NULL, next_look_at = now(), looks = looks - 1
         WHERE id = $1 AND lease_token = $2",
        held.id.0,
        held.token.0,
    )
    .execute(&database.pool)
    .await?;
    Ok(())
}

/// Prolongs the lease; false when it is lost.
///
/// # Errors
/// From the database.
pub async fn is_held(
    database: &Database,
    held: &Lease<Claimed>,
    lease: Duration,
) -> Result<bool, sqlx::Error> {
    let prolonged = sqlx::query!(
        "UPDATE arrivals SET next_look_at = now() + make_interval(secs => $3)
         WHERE id = $1 AND lease_token = $2",
        held.id.0,
        held.token.0,
        lease.as_secs_f64(),
    )
    .execute(&database.pool)
    .await?;
    Ok(prolonged.rows_affected() == 1)
}

/// Locks the row until the transaction ends, if the lease is still ours.
pub(in crate::service) async fn hold(
    connection: &mut PgConnection,
    held: &Lease<Claimed>,
) -> Result<bool, sqlx::Error> {
    let locked = sqlx::query_scalar!(
        "SELECT id FROM arrivals WHERE id = $1 AND lease_token = $2 FOR UPDATE",
        held.id.0,
        held.token.0,
    )
    .fetch_optional(connection)
    .await?;
    Ok(locked.is_some())
}

/// Ends an arrival, and its lease.
pub(in crate::service) async fn finish(
    connection: &mut PgConnection,
    held: &Lease<Claimed>,
    status: ArrivalStatus,
    reason: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE arrivals SET status = $3, reason = $4, finished_at = now(), lease_token = NULL
         WHERE id = $1 AND lease_token = $2",
        held.id.0,
        held.token.0,
        status as ArrivalStatus,
        reason,
    )
    .execute(connection)
    .await?;
    Ok(())
}
