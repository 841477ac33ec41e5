//! Deliveries of events: claimed under a lease, recorded under its token, replayed by hand. They are
//! made by a trigger on `events` (`fan_out`).

mod ends;
mod history;

use uuid::Uuid;

use super::{Database, audit_events, events, terms::Terms};
use crate::service::webhooks::{Envelope, Secret};

pub(super) use ends::end_waiting;
pub use ends::{AfterFailure, Attempt, fail, succeed};
pub use history::{ListFilter, ReplayError, list, replay};

/// Most posts open at once to one endpoint, whoever sends them.
const MOST_PER_ENDPOINT: i64 = 4;

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

/// Takes up to `most` deliveries that are due, those that waited longest first, few to an endpoint.
/// What is due at a disabled endpoint ends: it was made, or held, while that was disabled.
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
           ), ended AS (
               UPDATE deliveries d
               SET status = 'failed', finished_at = now(), lease_token = NULL,
                   error = coalesce(d.error, 'the endpoint is disabled')
               FROM (SELECT d.id FROM deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint
                     WHERE d.status = 'pending' AND d.next_attempt_at <= now() AND NOT e.enabled
                     FOR UPDATE OF d SKIP LOCKED) AS late
               WHERE d.id = late.id
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
