//! Deliveries of events: claimed under a lease, recorded under its token, replayed by hand. They are
//! made by a trigger on `events` (`fan_out`).

use std::time::Duration;

use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Database, audit_events, events};
use crate::service::{
    access::Caller,
    webhooks::{Delivery, DeliveryStatus, Envelope, Secret},
};

/// Most posts open at once to one endpoint, whoever sends them.
const MOST_PER_ENDPOINT: i64 = 4;

/// The longest wait between two attempts, in seconds.
const LONGEST_WAIT: f64 = 3.0 * 3600.0;

/// How long a claim holds, how long to wait between attempts, and how long to go on.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub lease: Duration,
    /// Before the second attempt; doubled for each further one.
    pub backoff: Duration,
    pub give_up: Duration,
}

impl Terms {
    /// The wait after so many attempts, in seconds: between half of it and the whole, at random, so
    /// that what failed together does not come back together.
    fn wait_after(self, attempts: i32) -> f64 {
        let doublings = attempts.clamp(1, 30) - 1;
        let whole = (self.backoff.as_secs_f64() * 2_f64.powi(doublings)).min(LONGEST_WAIT);
        whole * rand::random_range(0.5..=1.0)
    }
}

/// A claimed delivery: everything that one attempt needs.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub id: Uuid,
    pub token: Uuid,
    pub attempts: i32,
    /// None for a job's own callback.
    pub endpoint: Option<Uuid>,
    pub url: String,
    /// The present one and, for a day after a rotation, the one before.
    pub secrets: Vec<Secret>,
    /// The database's time of the claim, in seconds since 1970.
    pub timestamp: i64,
    pub envelope: Envelope,
}

/// What an attempt came to.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// HTTP status, where there was an answer.
    status: Option<u16>,
    error: Option<String>,
}

impl Attempt {
    pub fn answered(status: u16, error: Option<String>) -> Self {
        Self { status: Some(status), error }
    }

    pub fn unanswered(error: String) -> Self {
        Self { status: None, error: Some(error) }
    }

    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// The receiver wants no more of these.
    fn is_gone(&self) -> bool {
        self.status == Some(410)
    }

    fn status(&self) -> Option<i32> {
        self.status.map(i32::from)
    }
}

/// What became of a delivery whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// It will be attempted again.
    Pending,
    Failed,
    /// And its endpoint with it.
    Disabled,
    /// The lease was lost; nothing was recorded.
    Lost,
}

/// Takes up to `most` deliveries that are due, those that waited longest first, few to an endpoint.
///
/// # Errors
/// From the database.
pub async fn claim(
    database: &Database,
    most: i64,
    terms: Terms,
) -> Result<Vec<Claimed>, sqlx::Error> {
    // What is due is read twice: without locks to rank it, then with them, whoever is first.
    let rows = sqlx::query!(
        r#"WITH due AS (
               SELECT d.id, row_number() OVER (
                          PARTITION BY coalesce(d.endpoint, d.id) ORDER BY d.next_attempt_at, d.id
                      ) + (SELECT count(*) FROM deliveries f
                           WHERE f.endpoint = d.endpoint AND f.lease_token IS NOT NULL
                             AND f.next_attempt_at > now()) AS turn
               FROM deliveries d LEFT JOIN webhook_endpoints e ON e.id = d.endpoint
               WHERE d.status = 'pending' AND d.next_attempt_at <= now()
                 AND coalesce(e.enabled, true)
           ), next AS (
               SELECT d.id FROM deliveries d JOIN due ON due.id = d.id
               WHERE due.turn <= $3 AND d.status = 'pending' AND d.next_attempt_at <= now()
               ORDER BY d.next_attempt_at, d.id LIMIT $1
               FOR UPDATE OF d SKIP LOCKED
           ), claimed AS (
               UPDATE deliveries d
               SET attempts = d.attempts + 1, last_attempt_at = now(),
                   lease_token = gen_random_uuid(), next_attempt_at = now() + make_interval(secs => $2)
               FROM next WHERE d.id = next.id
               RETURNING d.id, d.lease_token, d.attempts, d.endpoint, d.url, d.event, d.tenant
           )
           SELECT c.id AS "id!", c.lease_token AS "token!", c.attempts AS "attempts!", c.endpoint,
                  coalesce(e.url, c.url) AS "url!",
                  coalesce(e.secret, t.callback_secret) AS "secret!",
                  CASE WHEN c.endpoint IS NULL THEN
                      CASE WHEN t.previous_callback_secret_until > now() THEN t.previous_callback_secret END
                  ELSE
                      CASE WHEN e.previous_secret_until > now() THEN e.previous_secret END
                  END AS "previous_secret",
                  extract(epoch FROM now())::bigint AS "timestamp!",
                  v.id AS "event!", v.tenant AS "tenant!", v.transfer AS "transfer?", v.kind AS "kind!",
                  v.subject AS "subject!", v.created_at AS "created_at!", v.data AS "data!"
           FROM claimed c
           JOIN events v ON v.id = c.event
           JOIN tenants t ON t.id = c.tenant
           LEFT JOIN webhook_endpoints e ON e.id = c.endpoint"#,
        most,
        terms.lease.as_secs_f64(),
        MOST_PER_ENDPOINT,
    )
    .fetch_all(&database.pool)
    .await?;
    let claimed = rows.into_iter().map(|row| Claimed {
        id: row.id,
        token: row.token,
        attempts: row.attempts,
        endpoint: row.endpoint,
        url: row.url,
        secrets: [Some(row.secret), row.previous_secret]
            .into_iter()
            .flatten()
            .filter_map(|bytes| Secret::from_stored(&bytes))
            .collect(),
        timestamp: row.timestamp,
        envelope: Envelope {
            id: row.event,
            tenant: row.tenant,
            transfer: row.transfer,
            kind: row.kind,
            subject: row.subject,
            created_at: row.created_at,
            data: row.data,
        },
    });
    Ok(claimed.collect())
}

/// Records that it was taken; false when the lease is lost.
///
/// # Errors
/// From the database; the delivery is then attempted again.
pub async fn succeed(
    database: &Database,
    claimed: &Claimed,
    attempt: &Attempt,
) -> Result<bool, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    let done = sqlx::query!(
        "UPDATE deliveries
         SET status = 'delivered', finished_at = now(), lease_token = NULL,
             response_status = $3, error = NULL
         WHERE id = $1 AND lease_token = $2",
        claimed.id,
        claimed.token,
        attempt.status(),
    )
    .execute(&mut *transaction)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query!(
        "UPDATE webhook_endpoints SET failing_since = NULL
         WHERE id = $1 AND failing_since IS NOT NULL",
        claimed.endpoint,
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(true)
}

/// Records a failed attempt: to be made again, or given up when it was tried for long enough or the
/// receiver said that it is gone. An endpoint that is gone, or failed for as long, is disabled.
///
/// # Errors
/// From the database; the delivery is then attempted again.
pub async fn fail(
    database: &Database,
    claimed: &Claimed,
    attempt: &Attempt,
    terms: Terms,
) -> Result<AfterFailure, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    // The last attempt is made when the time is up.
    let row = sqlx::query!(
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
           RETURNING fate.over AS "over!""#,
        claimed.id,
        claimed.token,
        attempt.is_gone(),
        terms.give_up.as_secs_f64(),
        terms.wait_after(claimed.attempts),
        attempt.status(),
        attempt.error,
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(row) = row else { return Ok(AfterFailure::Lost) };
    let mut after = if row.over { AfterFailure::Failed } else { AfterFailure::Pending };
    if let Some(endpoint) = claimed.endpoint
        && blame(&mut transaction, endpoint, attempt, terms).await?
    {
        after = AfterFailure::Disabled;
    }
    transaction.commit().await?;
    Ok(after)
}

/// Counts a failure against the endpoint; true when that disabled it, which is an event too.
async fn blame(
    connection: &mut PgConnection,
    endpoint: Uuid,
    attempt: &Attempt,
    terms: Terms,
) -> Result<bool, sqlx::Error> {
    let row = sqlx::query!(
        r#"UPDATE webhook_endpoints SET failing_since = coalesce(failing_since, now())
           WHERE id = $1
           RETURNING tenant, name,
               enabled AND ($2 OR failing_since <= now() - make_interval(secs => $3)) AS "hopeless!""#,
        endpoint,
        attempt.is_gone(),
        terms.give_up.as_secs_f64(),
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row.filter(|row| row.hopeless) else { return Ok(false) };
    let reason = if attempt.is_gone() { "it answered 410 Gone" } else { "it failed for too long" };
    sqlx::query!(
        "UPDATE webhook_endpoints SET enabled = false, disabled_reason = $2 WHERE id = $1",
        endpoint,
        reason,
    )
    .execute(&mut *connection)
    .await?;
    let subject = format!("webhook_endpoints/{}", row.name);
    let data = json!({"name": row.name, "reason": reason, "error": attempt.error});
    events::record(connection, row.tenant, &subject, "webhook_endpoint.disabled", data).await?;
    Ok(true)
}

/// Which deliveries of an endpoint to list.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    pub status: Option<DeliveryStatus>,
    /// The last delivery of the page before.
    pub after: Option<Uuid>,
    pub limit: i64,
}

/// Deliveries to a tenant's endpoint, newest first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: Uuid,
    endpoint: &str,
    filter: &ListFilter,
) -> Result<Vec<Delivery>, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    sqlx::query_as!(
        Delivery,
        r#"SELECT d.id, d.event, v.kind, v.subject, d.status AS "status: DeliveryStatus",
                  d.attempts, d.response_status, d.error, d.created_at, d.last_attempt_at,
                  CASE WHEN d.status = 'pending' THEN d.next_attempt_at END AS "next_attempt_at",
                  d.finished_at
           FROM deliveries d
           JOIN events v ON v.id = d.event
           JOIN webhook_endpoints e ON e.id = d.endpoint
           WHERE d.tenant = $1 AND e.tenant = $1 AND e.name = $2
             AND ($3::delivery_status IS NULL OR d.status = $3)
             AND ($4::uuid IS NULL OR d.id < $4)
           ORDER BY d.id DESC LIMIT $5"#,
        tenant,
        endpoint,
        filter.status as Option<DeliveryStatus>,
        filter.after,
        filter.limit,
    )
    .fetch_all(&mut *scope)
    .await
}

/// Makes a delivery due at once, with all its time before it; `None` where the tenant's endpoint has
/// none of this id. An attempt under way is not waited for.
///
/// # Errors
/// From the database.
pub async fn replay(
    database: &Database,
    caller: impl Into<Caller>,
    endpoint: &str,
    id: Uuid,
) -> Result<Option<Delivery>, sqlx::Error> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    let delivery = sqlx::query_as!(
        Delivery,
        r#"UPDATE deliveries d
           SET status = 'pending', retry_since = now(), next_attempt_at = now(),
               finished_at = NULL, lease_token = NULL
           FROM events v, webhook_endpoints e
           WHERE d.id = $3 AND d.tenant = $1 AND v.id = d.event
             AND e.id = d.endpoint AND e.tenant = $1 AND e.name = $2
           RETURNING d.id, d.event, v.kind, v.subject, d.status AS "status: DeliveryStatus",
                     d.attempts, d.response_status, d.error, d.created_at, d.last_attempt_at,
                     d.next_attempt_at AS "next_attempt_at?", d.finished_at"#,
        caller.tenant,
        endpoint,
        id,
    )
    .fetch_optional(&mut *scope)
    .await?;
    let Some(delivery) = delivery else { return Ok(None) };
    sqlx::query!("SELECT pg_notify('deliveries', '')").execute(&mut *scope).await?;
    let subject = format!("webhook_endpoints/{endpoint}/deliveries/{id}");
    audit_events::record(&mut scope, caller, "delivery.replay", &subject).await?;
    scope.commit().await?;
    Ok(Some(delivery))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_up_to_three_hours() {
        let terms = Terms {
            lease: Duration::from_secs(30),
            backoff: Duration::from_secs(5),
            give_up: Duration::from_hours(24),
        };
        for (attempts, whole) in [(1, 5.0), (2, 10.0), (5, 80.0), (40, LONGEST_WAIT)] {
            for _ in 0..20 {
                let wait = terms.wait_after(attempts);
                assert!((whole / 2.0..=whole).contains(&wait), "{wait} s after {attempts}");
            }
        }
    }

    #[test]
    fn success_is_2xx_and_410_is_gone() {
        let answered = |status| Attempt::answered(status, None);
        assert!(answered(200).is_success() && answered(299).is_success());
        assert!(!answered(199).is_success() && !answered(302).is_success());
        assert!(answered(410).is_gone() && !answered(404).is_gone());
        let cut = Attempt::unanswered("cut".into());
        assert!(!cut.is_success() && !cut.is_gone());
    }
}
