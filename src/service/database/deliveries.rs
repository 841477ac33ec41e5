//! Deliveries of events: claimed under a lease, recorded under its token, replayed by hand. They are
//! made by a trigger on `events` (`fan_out`).

mod attempts;
mod history;

use std::time::Instant;

use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Database;
use crate::{
    contract::ids::{DeliveryId, EventId, LeaseToken, TenantId, TransferId, WebhookEndpointId},
    service::domain::{
        events::{Envelope, RecordedKind, Secret},
        leases::{Lease, RetryPolicy},
    },
};

pub(in crate::service) use attempts::{end_waiting, record_failure, record_success, set_back};
pub use history::{ListFilter, list};
pub(in crate::service) use history::{Replay, insert_only_for, is_enabled, prune, replay, wake};

/// Posts open at once to one endpoint, or to all callbacks of one tenant's jobs, whichever process sends
/// them; one at a time while posts there fail.
const MAX_PER_LANE: i64 = 4;

/// Deliveries of one disabled endpoint that one claim ends, at most.
const MAX_ENDED: i64 = 1000;

/// How many posts may be claimed.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    pub posts: i64,
    /// Posts that one tenant may have open, those of other processes included.
    pub per_tenant: i64,
}

/// A claimed delivery: everything that one attempt needs.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub id: DeliveryId,
    pub attempts: i32,
    /// None for a job's own callback.
    pub endpoint: Option<WebhookEndpointId>,
    pub url: String,
    /// The present one and, for a day after a rotation, the one before.
    pub secrets: Vec<Secret>,
    /// The database's time of the claim, in seconds since 1970.
    pub timestamp: i64,
    pub envelope: Envelope,
}

/// Takes deliveries that are due, at most as many as the capacity allows: tenant by tenant and endpoint by
/// endpoint in turn, so that a tenant with few waiting deliveries waits for no tenant with many, or with
/// receivers that hang. Due deliveries of a disabled endpoint are marked failed.
///
/// # Errors
/// From the database.
#[expect(clippy::too_many_lines, reason = "one statement")]
pub async fn claim(
    database: &Database,
    capacity: Capacity,
    policy: RetryPolicy,
) -> Result<Vec<Lease<Claimed>>, sqlx::Error> {
    let until = Instant::now() + policy.lease;
    // From lane to lane by the index, and of each the few that it may have open: what it costs depends on how many
    // receivers have something waiting, not on how much that is. Claims at the same moment do not see each
    // other's, so that a lane may exceed its limit once.
    let rows = sqlx::query_as!(
        Row,
        r#"WITH RECURSIVE lanes AS (
               (SELECT tenant, lane FROM deliveries WHERE status = 'pending'
                ORDER BY tenant, lane LIMIT 1)
               UNION ALL
               SELECT further.tenant, further.lane FROM lanes l CROSS JOIN LATERAL (
                   SELECT d.tenant, d.lane FROM deliveries d
                   WHERE d.status = 'pending' AND (d.tenant, d.lane) > (l.tenant, l.lane)
                   ORDER BY d.tenant, d.lane LIMIT 1
               ) AS further
           ), open AS (
               SELECT tenant, lane, count(*) AS posts FROM deliveries
               WHERE lease_token IS NOT NULL AND next_attempt_at > now()
               GROUP BY tenant, lane
           ), places AS (
               SELECT l.tenant, l.lane, coalesce(o.posts, 0) AS taken,
                      CASE WHEN e.failing_since IS NULL THEN $3::bigint ELSE 1 END
                          - coalesce(o.posts, 0) AS free
               FROM lanes l
               LEFT JOIN webhook_endpoints e ON e.id = l.lane
               LEFT JOIN open o ON o.tenant = l.tenant AND o.lane = l.lane
               WHERE coalesce(e.enabled, true) AND coalesce(e.paused_until <= now(), true)
           ), due AS (
               SELECT d.id, d.next_attempt_at,
                      row_number() OVER (PARTITION BY p.tenant
                                         ORDER BY p.taken + d.place, d.next_attempt_at, d.id)
                          + (SELECT coalesce(sum(o.posts), 0)::bigint FROM open o
                             WHERE o.tenant = p.tenant) AS turn
               FROM places p CROSS JOIN LATERAL (
                   SELECT first.id, first.next_attempt_at,
                          row_number() OVER (ORDER BY first.next_attempt_at, first.id) AS place
                   FROM (SELECT id, next_attempt_at FROM deliveries
                         WHERE status = 'pending' AND tenant = p.tenant AND lane = p.lane
                           AND next_attempt_at <= now()
                         ORDER BY next_attempt_at, id
                         LIMIT greatest(p.free, 0)) AS first
               ) AS d
           ), ended AS (
               UPDATE deliveries d
               SET status = 'failed', finished_at = now(), lease_token = NULL,
                   error = coalesce(d.error, 'the endpoint is disabled')
               FROM (SELECT late.id
                     FROM lanes l JOIN webhook_endpoints e ON e.id = l.lane AND NOT e.enabled
                     CROSS JOIN LATERAL (
                         SELECT id FROM deliveries
                         WHERE status = 'pending' AND tenant = l.tenant AND lane = l.lane
                           AND next_attempt_at <= now()
                         LIMIT $5
                         FOR UPDATE SKIP LOCKED
                     ) AS late) AS late
               WHERE d.id = late.id
           ), next AS (
               SELECT d.id FROM deliveries d JOIN due ON due.id = d.id
               WHERE due.turn <= $4 AND d.status = 'pending' AND d.next_attempt_at <= now()
               ORDER BY due.turn, d.next_attempt_at, d.id LIMIT $1
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
        capacity.posts,
        policy.lease.as_secs_f64(),
        MAX_PER_LANE,
        capacity.per_tenant,
        MAX_ENDED,
    )
    .fetch_all(&database.pool)
    .await?;

    Ok(rows
        .into_iter()
        .map(|row| Lease {
            token: row.token,
            until,
            entry: Claimed::from(row),
        })
        .collect())
}

/// What the claim reads, flat.
struct Row {
    id: DeliveryId,
    token: LeaseToken,
    attempts: i32,
    endpoint: Option<Uuid>,
    url: String,
    secret: Vec<u8>,
    previous_secret: Option<Vec<u8>>,
    timestamp: i64,
    event: EventId,
    tenant: TenantId,
    transfer: Option<Uuid>,
    kind: RecordedKind,
    subject: String,
    created_at: OffsetDateTime,
    data: Value,
}

impl From<Row> for Claimed {
    fn from(row: Row) -> Self {
        let secrets = [Some(row.secret), row.previous_secret];

        Self {
            id: row.id,
            attempts: row.attempts,
            endpoint: row.endpoint.map(WebhookEndpointId),
            url: row.url,
            secrets: secrets
                .into_iter()
                .flatten()
                .filter_map(|bytes| Secret::from_stored(&bytes))
                .collect(),
            timestamp: row.timestamp,
            envelope: Envelope {
                id: row.event,
                tenant: row.tenant,
                transfer: row.transfer.map(TransferId),
                kind: row.kind,
                subject: row.subject,
                created_at: row.created_at,
                data: row.data,
            },
        }
    }
}
