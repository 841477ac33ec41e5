//! Arrivals: folders said to hold a version, claimed under a lease and looked at, recorded under its
//! token.

mod held;

use std::time::Instant;

use sqlx::PgConnection;
use uuid::Uuid;

use super::Database;
use crate::{
    contract::ids::{ArrivalId, BaseModelId, TenantId},
    service::domain::{
        leases::{Lease, RetryPolicy},
        registry::{
            arrivals::{Announced, Announcement, Arrival, ArrivalStatus},
            inbound::Inbound,
        },
    },
};

pub(in crate::service) use held::{delete_of, finish, hold, prune, put_off, set_back};
pub use held::{release, renew};

/// Arrivals of one tenant looked at at once, over all processes.
const MAX_PER_TENANT: i64 = 2;

/// A claimed arrival: everything that one look needs.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub id: ArrivalId,
    pub tenant: TenantId,
    pub base_model: String,
    pub uri: String,
    pub version: String,
    pub looks: i32,
}

/// Writes announcements of one base model; what became of each so far, where anything was written.
///
/// # Errors
/// From the database.
pub async fn announce(
    database: &Database,
    inbound: &Inbound,
    announcements: &[Announcement],
    announced: Announced,
) -> Result<Vec<Arrival>, sqlx::Error> {
    let (mut uris, mut versions, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for one in announcements {
        uris.push(one.uri.clone());
        versions.push(one.version.clone());
        faults.push(one.fault().map(str::to_owned));
    }

    let mut scope = database.scope(inbound.tenant).await?;
    // The clock, not the transaction's time: it is read when the row is held, so that an announcement
    // made after a claim is later than it.
    let rows = sqlx::query_as!(
        Arrival,
        r#"INSERT INTO arrivals AS a
               (tenant, base_model, inbound_token, uri, version, status, reason, finished_at)
           SELECT m.tenant, m.id, $3, n.uri, n.version,
                  CASE WHEN n.fault IS NULL THEN 'waiting' ELSE 'ignored' END::arrival_status,
                  n.fault, CASE WHEN n.fault IS NOT NULL THEN now() END
           FROM base_models m, unnest($4::text[], $5::text[], $6::text[]) AS n (uri, version, fault)
           WHERE m.tenant = $1 AND m.name = $2
           ON CONFLICT (base_model, uri, version) DO UPDATE
           SET announcements = a.announcements + 1, announced_at = clock_timestamp(), retry_since = now(),
               next_look_at = CASE WHEN a.lease_token IS NULL THEN now() ELSE a.next_look_at END,
               looks = CASE WHEN a.status = 'failed' THEN 0 ELSE a.looks END,
               reason = CASE WHEN a.status = 'failed' THEN NULL ELSE a.reason END,
               finished_at = CASE WHEN a.status = 'failed' THEN NULL ELSE a.finished_at END,
               status = CASE WHEN a.status = 'failed' THEN 'waiting' ELSE a.status END
           WHERE $7
           RETURNING id, $2 AS "base_model!", uri, version, status AS "status: ArrivalStatus", reason,
                     announcements, created_at, announced_at, last_look_at,
                     CASE WHEN status = 'waiting' THEN next_look_at END AS "next_look_at", finished_at"#,
        inbound.tenant.0,
        inbound.base_model,
        inbound.id.0,
        &uris,
        &versions,
        &faults as &[Option<String>],
        announced == Announced::Again,
    )
    .fetch_all(&mut *scope)
    .await?;

    scope.commit().await?;

    Ok(rows)
}

/// Ends proposals of a folder that somebody has registered.
pub(in crate::service) async fn accept(
    connection: &mut PgConnection,
    base_model: BaseModelId,
    uri: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE arrivals SET status = 'registered', reason = NULL, finished_at = now()
         WHERE base_model = $1 AND status = 'proposed'
           AND rtrim(uri, '/') = rtrim(split_part($2, '@', 1), '/')",
        base_model.0,
        uri,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Which arrivals of a base model to list.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    pub status: Option<ArrivalStatus>,
    /// The last arrival of the page before.
    pub after: Option<ArrivalId>,
    pub limit: i64,
}

/// Arrivals of a tenant's base model, the one first announced last first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    base_model: &str,
    filter: &ListFilter,
) -> Result<Vec<Arrival>, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    sqlx::query_as!(
        Arrival,
        r#"SELECT a.id, m.name AS base_model, a.uri, a.version, a.status AS "status: ArrivalStatus",
                  a.reason, a.announcements, a.created_at, a.announced_at, a.last_look_at,
                  CASE WHEN a.status = 'waiting' THEN a.next_look_at END AS "next_look_at",
                  a.finished_at
           FROM arrivals a JOIN base_models m ON m.id = a.base_model
           WHERE m.tenant = $1 AND m.name = $2
             AND ($3::arrival_status IS NULL OR a.status = $3)
             AND ($4::uuid IS NULL OR a.id < $4)
           ORDER BY a.id DESC LIMIT $5"#,
        tenant.0,
        base_model,
        filter.status as Option<ArrivalStatus>,
        filter.after.map(Uuid::from),
        filter.limit,
    )
    .fetch_all(&mut *scope)
    .await
}

/// Takes up to `limit` arrivals that are due, few of a tenant, tenants in turn; of each those that waited longest.
///
/// # Errors
/// From the database.
pub async fn claim(
    database: &Database,
    limit: i64,
    policy: RetryPolicy,
) -> Result<Vec<Lease<Claimed>>, sqlx::Error> {
    let until = Instant::now() + policy.lease;
    // From tenant to tenant by the index, and of each the few that it may have looked at.
    let rows = sqlx::query!(
        r#"WITH RECURSIVE waiting AS (
               (SELECT tenant FROM arrivals WHERE status = 'waiting' ORDER BY tenant LIMIT 1)
               UNION ALL
               SELECT further.tenant FROM waiting w CROSS JOIN LATERAL (
                   SELECT a.tenant FROM arrivals a
                   WHERE a.status = 'waiting' AND a.tenant > w.tenant
                   ORDER BY a.tenant LIMIT 1
               ) AS further
           ), due AS (
               SELECT d.id, d.place + (SELECT count(*) FROM arrivals f
                                       WHERE f.tenant = w.tenant AND f.lease_token IS NOT NULL
                                         AND f.next_look_at > now()) AS turn
               FROM waiting w CROSS JOIN LATERAL (
                   SELECT first.id,
                          row_number() OVER (ORDER BY first.next_look_at, first.id) AS place
                   FROM (SELECT id, next_look_at FROM arrivals
                         WHERE status = 'waiting' AND tenant = w.tenant AND next_look_at <= now()
                         ORDER BY next_look_at, id LIMIT $3) AS first
               ) AS d
           ), next AS (
               SELECT a.id FROM arrivals a JOIN due ON due.id = a.id
               WHERE due.turn <= $3 AND a.status = 'waiting' AND a.next_look_at <= now()
               ORDER BY due.turn, a.next_look_at, a.id LIMIT $1
               FOR UPDATE OF a SKIP LOCKED
           )
           UPDATE arrivals a
           SET looks = a.looks + 1, last_look_at = clock_timestamp(),
               announcements_seen = a.announcements,
               lease_token = gen_random_uuid(), next_look_at = now() + make_interval(secs => $2)
           FROM next, base_models m WHERE a.id = next.id AND m.id = a.base_model
           RETURNING a.id, a.lease_token AS "token!", a.tenant, m.name AS base_model, a.uri,
                     a.version, a.looks"#,
        limit,
        policy.lease.as_secs_f64(),
        MAX_PER_TENANT,
    )
    .fetch_all(&database.pool)
    .await?;

    let claimed = rows.into_iter().map(|row| Lease {
        entry: Claimed {
            id: row.id.into(),
            tenant: row.tenant.into(),
            base_model: row.base_model,
            uri: row.uri,
            version: row.version,
            looks: row.looks,
        },
        token: row.token.into(),
        until,
    });

    Ok(claimed.collect())
}
