//! What an attempt came to, written under the lease token, within a transaction of a use case.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::Claimed;
use crate::{
    contract::ids::WebhookEndpointId,
    service::domain::{
        events::Attempt,
        leases::{Lease, RetryPolicy},
    },
};

/// Writes that it was taken; false when the lease is lost.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn record_success(
    connection: &mut PgConnection,
    held: &Lease<Claimed>,
    attempt: &Attempt,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE deliveries
         SET status = 'delivered', finished_at = now(), lease_token = NULL,
             response_status = $3, error = NULL
         WHERE id = $1 AND lease_token = $2",
        held.id.0,
        held.token.0,
        attempt.status(),
    )
    .execute(connection)
    .await?;

    Ok(done.rows_affected() == 1)
}

/// What a failed attempt means for its delivery.
pub(in crate::service) struct Fate {
    /// It is given up.
    pub over: bool,
    /// Since when it was tried.
    pub retry_since: OffsetDateTime,
}

/// Writes that it failed: to be made again, or given up when it was tried for long enough or the receiver said that
/// it is gone. `None` when the lease is lost.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn record_failure(
    connection: &mut PgConnection,
    held: &Lease<Claimed>,
    attempt: &Attempt,
    policy: RetryPolicy,
) -> Result<Option<Fate>, sqlx::Error> {
    let pause = attempt.pause(policy.max_wait).as_secs_f64();
    // The last attempt is made when the time is up.
    sqlx::query_as!(
        Fate,
        r#"WITH fate AS (
               SELECT id, $3 OR now() >= retry_since + make_interval(secs => $4) AS over
               FROM deliveries WHERE id = $1 AND lease_token = $2 FOR UPDATE
           )
           UPDATE deliveries d
           SET status = CASE WHEN fate.over THEN 'failed' ELSE 'pending' END::delivery_status,
               finished_at = CASE WHEN fate.over THEN now() END,
               next_attempt_at = least(now() + make_interval(secs => $5),
                                       greatest(now(), retry_since + make_interval(secs => $4))),
               lease_token = NULL, response_status = $6, error = $7
           FROM fate WHERE d.id = fate.id
           RETURNING fate.over AS "over!", d.retry_since"#,
        held.id.0,
        held.token.0,
        attempt.is_gone(),
        policy.give_up.as_secs_f64(),
        policy.scattered_wait_after(held.attempts).max(pause),
        attempt.status(),
        attempt.error(),
    )
    .fetch_optional(connection)
    .await
}

/// Ends what waits for an endpoint that is disabled. What others hold at this moment is ended by them
/// or, should they die, by the next claim.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn end_waiting(
    connection: &mut PgConnection,
    endpoint: WebhookEndpointId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH waiting AS (
             SELECT d.id FROM deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint
             WHERE e.id = $1 AND NOT e.enabled AND d.status = 'pending'
             FOR UPDATE OF d SKIP LOCKED
         )
         UPDATE deliveries d
         SET status = 'failed', finished_at = now(), lease_token = NULL,
             error = coalesce(error, 'the endpoint is disabled')
         FROM waiting WHERE d.id = waiting.id",
        endpoint.0,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets every time that a delivery waits for, or counts from, back by so many seconds.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn set_back(
    connection: &mut PgConnection,
    seconds: f64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE deliveries
         SET next_attempt_at = next_attempt_at - make_interval(secs => $1),
             retry_since = retry_since - make_interval(secs => $1)
         WHERE status = 'pending'",
        seconds,
    )
    .execute(connection)
    .await?;
    Ok(())
}
