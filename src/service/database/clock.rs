//! Notices what the queues' times cannot tell by themselves: that the database was away, and that its clock
//! was set back.
//!
//! Whoever claims, beats or sweeps writes a sign of life into one row, at most once a second. Two things are
//! read from the distance between the last sign and now:
//!
//! - *Now is much later.* Nobody could write meanwhile, so nobody could prolong a lease either. Every lease
//!   that held at the last sign holds for its whole length again: its worker comes back, and the outage costs
//!   no attempt.
//! - *Now is earlier.* The clock was set back. Every time that a queue waits for is set back by as much.
//!
//! Dates that somebody has set stay what they are, such as when a key expires; so does the day for which a secret
//! that was replaced goes on.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::Database;

/// The least distance between two signs that are written, in seconds; as far may the clock go back unnoticed.
const GRAIN: f64 = 1.0;

/// The pace at which idle workers look for work is slower than any lease asks for; this is allowed for.
const SLACK: Duration = Duration::from_secs(5);

/// What time it is for the database.
///
/// # Errors
/// From the database.
pub async fn now(database: &Database) -> Result<OffsetDateTime, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#)
        .fetch_one(&database.pool)
        .await
}

/// Gives a sign of life, and puts leases and queues in order where the last one shows that it is needed. `lease`
/// is how long a lease lasts: workers beat at least twice as often.
///
/// # Errors
/// From the database; the next sign then finds the same.
pub async fn tick(database: &Database, lease: Duration) -> Result<(), sqlx::Error> {
    let passed = sqlx::query_scalar!(
        r#"SELECT extract(epoch FROM clock_timestamp() - seen_at)::double precision AS "passed!"
           FROM service_clock"#
    )
    .fetch_optional(&database.pool)
    .await?;
    if passed.is_some_and(|passed| (0.0..GRAIN).contains(&passed)) {
        return Ok(());
    }

    // Of several processes one finds the distance; the others wait for it and find none.
    let mut transaction = database.pool.begin().await?;
    let passed = sqlx::query_scalar!(
        r#"WITH last AS (SELECT seen_at FROM service_clock FOR UPDATE)
           UPDATE service_clock c SET seen_at = clock_timestamp() FROM last
           RETURNING extract(epoch FROM c.seen_at - last.seen_at)::double precision AS "passed!""#
    )
    .fetch_optional(&mut *transaction)
    .await?;

    match passed {
        Some(passed) if passed > (lease / 2 + SLACK).as_secs_f64() => {
            let leases = prolong(&mut transaction, passed, lease).await?;
            tracing::info!(
                seconds = passed,
                leases,
                "nobody could write for a while; leases hold on"
            );
        }
        Some(passed) if passed < -GRAIN => {
            set_back(&mut transaction, -passed).await?;
            tracing::warn!(
                seconds = -passed,
                "the database's clock was set back; the queues follow it"
            );
        }
        Some(_) => {}
        // Lost with a backup that left it out.
        None => {
            sqlx::query!("INSERT INTO service_clock DEFAULT VALUES ON CONFLICT DO NOTHING")
                .execute(&mut *transaction)
                .await?;
        }
    }

    transaction.commit().await
}

/// Every lease that held `passed` seconds ago holds for its whole length again; how many there are.
async fn prolong(
    connection: &mut PgConnection,
    passed: f64,
    lease: Duration,
) -> Result<u64, sqlx::Error> {
    let prolonged = sqlx::query!(
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
    Ok(prolonged.rows_affected())
}

/// Sets every time that a queue waits for, or counts from, back by so many seconds.
async fn set_back(connection: &mut PgConnection, seconds: f64) -> Result<(), sqlx::Error> {
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
        .execute(&mut *connection)
        .await?;

    sqlx::query!(
        "UPDATE deliveries
         SET next_attempt_at = next_attempt_at - make_interval(secs => $1),
             retry_since = retry_since - make_interval(secs => $1)
         WHERE status = 'pending'",
        seconds,
    )
    .execute(&mut *connection)
    .await?;

    sqlx::query!(
        "UPDATE webhook_endpoints
         SET failing_since = failing_since - make_interval(secs => $1),
             paused_until = paused_until - make_interval(secs => $1)
         WHERE failing_since IS NOT NULL OR paused_until IS NOT NULL",
        seconds,
    )
    .execute(&mut *connection)
    .await?;

    sqlx::query!(
        "UPDATE arrivals
         SET next_look_at = next_look_at - make_interval(secs => $1),
             retry_since = retry_since - make_interval(secs => $1),
             announced_at = announced_at - make_interval(secs => $1),
             last_look_at = last_look_at - make_interval(secs => $1)
         WHERE status = 'waiting'",
        seconds,
    )
    .execute(&mut *connection)
    .await?;

    sqlx::query!(
        "UPDATE inbound_tokens
         SET listing_due_at = listing_due_at - make_interval(secs => $1),
             listing_asked_at = listing_asked_at - make_interval(secs => $1),
             listing_began_at = listing_began_at - make_interval(secs => $1),
             listed_at = listed_at - make_interval(secs => $1)",
        seconds,
    )
    .execute(&mut *connection)
    .await?;

    sqlx::query!(
        "UPDATE base_models SET card_due_at = card_due_at - make_interval(secs => $1)",
        seconds
    )
    .execute(&mut *connection)
    .await?;

    sqlx::query!(
        "UPDATE workers SET last_seen_at = last_seen_at - make_interval(secs => $1)",
        seconds
    )
    .execute(&mut *connection)
    .await?;

    Ok(())
}
