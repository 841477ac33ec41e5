//! What is written under the lease token of an arrival: it is renewed, given back, put off, or the arrival ended.

use std::time::Duration;

use sqlx::PgConnection;

use super::{Claimed, Database};
use crate::{
    contract::ids::BaseModelId,
    service::domain::{
        leases::{Lease, RetryPolicy},
        registry::arrivals::ArrivalStatus,
    },
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

/// Renews the lease; false when it is lost.
///
/// # Errors
/// From the database.
pub async fn renew(
    database: &Database,
    held: &Lease<Claimed>,
    lease: Duration,
) -> Result<bool, sqlx::Error> {
    let renewed = sqlx::query!(
        "UPDATE arrivals SET next_look_at = now() + make_interval(secs => $3)
         WHERE id = $1 AND lease_token = $2",
        held.id.0,
        held.token.0,
        lease.as_secs_f64(),
    )
    .execute(&database.pool)
    .await?;
    Ok(renewed.rows_affected() == 1)
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

/// Sets every time that an arrival waits for, or counts from, back by so many seconds.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn set_back(
    connection: &mut PgConnection,
    seconds: f64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE arrivals
         SET next_look_at = next_look_at - make_interval(secs => $1),
             retry_since = retry_since - make_interval(secs => $1),
             announced_at = announced_at - make_interval(secs => $1),
             last_look_at = last_look_at - make_interval(secs => $1)
         WHERE status = 'waiting'",
        seconds,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes arrivals that ended and were announced so many days ago; how many.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn prune(database: &Database, days: i32) -> Result<u64, sqlx::Error> {
    // A folder that is listed again and again would otherwise be looked at again, and what a card names be
    // announced again.
    let pruned = sqlx::query!(
        "DELETE FROM arrivals WHERE status <> 'waiting' AND inbound_token IS NOT NULL
             AND greatest(finished_at, announced_at) < now() - make_interval(days => $1)
             AND NOT EXISTS (SELECT 1 FROM inbound_tokens t
                             WHERE t.id = inbound_token AND t.poll_seconds IS NOT NULL)",
        days
    )
    .execute(&database.pool)
    .await?;

    Ok(pruned.rows_affected())
}

/// Deletes what was announced for a base model.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn delete_of(
    connection: &mut PgConnection,
    id: BaseModelId,
) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM arrivals WHERE base_model = $1", id.0)
        .execute(connection)
        .await?;
    Ok(())
}
