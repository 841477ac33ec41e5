//! Listings of addresses' folders: when a notification asks for one, and from time to time. Claimed
//! under a lease, recorded under its token.

use std::time::Instant;

use sqlx::PgConnection;

use super::Database;
use crate::service::domain::{
    leases::{Lease, RetryPolicy},
    registry::{arrivals::Announced, inbound::Inbound},
};

/// A claimed listing.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub inbound: Inbound,
    /// Whether a notification has asked for it.
    pub announced: Announced,
    /// Listings that failed before this one.
    pub failures: i32,
}

/// Wants the folder of an address listed, at once where nobody does so now, or else after that.
///
/// # Errors
/// From the database.
pub async fn ask(database: &Database, inbound: &Inbound) -> Result<(), sqlx::Error> {
    let mut scope = database.scope(inbound.tenant).await?;
    sqlx::query!(
        "UPDATE inbound_tokens
         SET listing_asked_at = clock_timestamp(), listing_failures = 0,
             listing_due_at = CASE WHEN listing_token IS NULL THEN now() ELSE listing_due_at END
         WHERE id = $1 AND tenant = $2",
        inbound.id.0,
        inbound.tenant.0,
    )
    .execute(&mut *scope)
    .await?;

    notify(&mut scope).await?;
    scope.commit().await
}

/// Wakes the processes that list folders, when the transaction commits.
pub(in crate::service) async fn notify(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_notify('arrivals', '')")
        .fetch_one(connection)
        .await?;
    Ok(())
}

/// Listings of one tenant at once, over all processes.
const MAX_PER_TENANT: i64 = 2;

/// Takes up to `limit` listings that are due, few of a tenant, tenants in turn; of each those that waited longest.
///
/// # Errors
/// From the database.
pub async fn claim(
    database: &Database,
    limit: i64,
    policy: RetryPolicy,
) -> Result<Vec<Lease<Claimed>>, sqlx::Error> {
    let until = Instant::now() + policy.lease;
    let rows = sqlx::query!(
        r#"WITH due AS (
               SELECT t.id, row_number() OVER (PARTITION BY t.tenant ORDER BY t.listing_due_at, t.id)
                          + (SELECT count(*) FROM inbound_tokens f
                             WHERE f.tenant = t.tenant AND f.listing_token IS NOT NULL
                               AND f.listing_due_at > now()) AS turn
               FROM inbound_tokens t WHERE t.listing_due_at <= now()
           ), next AS (
               SELECT t.id, t.listing_asked_at > coalesce(t.listed_at, '-infinity') AS asked
               FROM inbound_tokens t JOIN due ON due.id = t.id
               WHERE due.turn <= $3 AND t.listing_due_at <= now()
               ORDER BY due.turn, t.listing_due_at, t.id LIMIT $1
               FOR UPDATE OF t SKIP LOCKED
           )
           UPDATE inbound_tokens t
           SET listing_token = gen_random_uuid(), listing_began_at = clock_timestamp(),
               listing_due_at = now() + make_interval(secs => $2)
           FROM next, base_models m WHERE t.id = next.id AND m.id = t.base_model
           RETURNING t.id, t.tenant, m.name AS base_model, t.prefix, t.listing_token AS "token!",
                     t.listing_failures, coalesce(next.asked, false) AS "asked!""#,
        limit,
        policy.lease.as_secs_f64(),
        MAX_PER_TENANT,
    )
    .fetch_all(&database.pool)
    .await?;

    let claimed = rows.into_iter().map(|row| Lease {
        entry: Claimed {
            inbound: Inbound {
                id: row.id.into(),
                tenant: row.tenant.into(),
                base_model: row.base_model,
                prefix: row.prefix,
            },
            announced: if row.asked {
                Announced::Again
            } else {
                Announced::Found
            },
            failures: row.listing_failures,
        },
        token: row.token.into(),
        until,
    });

    Ok(claimed.collect())
}

/// Records that the folder was listed: the next time comes with the period, or at once where it was
/// asked for meanwhile. Changes nothing when the lease is lost.
///
/// # Errors
/// From the database; the folder is then listed again.
pub async fn succeed(database: &Database, held: &Lease<Claimed>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE inbound_tokens
         SET listed_at = listing_began_at, listing_token = NULL, listing_failures = 0,
             listing_error = NULL,
             listing_due_at = CASE WHEN listing_asked_at > listing_began_at THEN now()
                                   ELSE now() + make_interval(secs => poll_seconds) END
         WHERE id = $1 AND listing_token = $2",
        held.inbound.id.0,
        held.token.0,
    )
    .execute(&database.pool)
    .await?;
    Ok(())
}

/// Records that it could not be listed: to be tried again later, and for ever where it is listed
/// from time to time anyway; given up with the time since it was last asked for. Changes nothing
/// when the lease is lost.
///
/// # Errors
/// From the database; the folder is then listed again.
pub async fn fail(
    database: &Database,
    held: &Lease<Claimed>,
    error: &str,
    policy: RetryPolicy,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE inbound_tokens
         SET listing_token = NULL, listing_failures = listing_failures + 1, listing_error = $5,
             listing_due_at = CASE
                 WHEN listing_asked_at > listing_began_at THEN now()
                 WHEN now() < listing_asked_at + make_interval(secs => $4)
                      THEN now() + make_interval(secs => $3)
                 ELSE now() + make_interval(secs => poll_seconds) END
         WHERE id = $1 AND listing_token = $2",
        held.inbound.id.0,
        held.token.0,
        policy.scattered_wait_after(held.failures + 1),
        policy.give_up.as_secs_f64(),
        error,
    )
    .execute(&database.pool)
    .await?;
    Ok(())
}

/// Sets every time that a listing waits for, or counts from, back by so many seconds.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn set_back(
    connection: &mut PgConnection,
    seconds: f64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE inbound_tokens
         SET listing_due_at = listing_due_at - make_interval(secs => $1),
             listing_asked_at = listing_asked_at - make_interval(secs => $1),
             listing_began_at = listing_began_at - make_interval(secs => $1),
             listed_at = listed_at - make_interval(secs => $1)",
        seconds,
    )
    .execute(connection)
    .await?;
    Ok(())
}
