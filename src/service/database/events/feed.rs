//! The one feed of all events of a tenant.
//!
//! What is written is seen when its transaction ends, which need not be in the order of writing. So an event has
//! no place in the feed until somebody reads the feed past it: places are given to what is seen, under the lock
//! of the tenant's row. Who knows a place has seen everything before it, or can.

use sqlx::PgConnection;

use crate::{
    contract::ids::TenantId,
    service::{
        database::{Database, tenants},
        domain::events::{FeedEvent, RecordedKind, Summary},
    },
};

/// Events that get their places in one transaction, at most.
const MAX_PLACED: i64 = 10_000;

/// Up to `limit` events of a tenant after a place, oldest first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    after: i64,
    limit: i64,
) -> Result<Vec<FeedEvent>, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    give_places(&mut scope, tenant).await?;
    let rows = sqlx::query!(
        r#"SELECT place AS "place!", id, subject, kind, created_at, data FROM events
           WHERE tenant = $1 AND place > $2
           ORDER BY place LIMIT $3"#,
        tenant.0,
        after,
        limit,
    )
    .fetch_all(&mut *scope)
    .await?;
    scope.commit().await?;

    let events = rows.into_iter().map(|row| {
        let kind = RecordedKind::from(row.kind);
        let summary = Summary {
            kind: &kind,
            data: &row.data,
        };
        FeedEvent {
            place: row.place,
            id: row.id.into(),
            subject: row.subject,
            level: summary.level(),
            message: summary.message(),
            kind,
            created_at: row.created_at,
            data: row.data,
        }
    });

    Ok(events.collect())
}

async fn give_places(connection: &mut PgConnection, tenant: TenantId) -> Result<(), sqlx::Error> {
    let waits = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM events WHERE tenant = $1 AND place IS NULL) AS "waits!""#,
        tenant.0,
    )
    .fetch_one(&mut *connection)
    .await?;
    if !waits {
        return Ok(());
    }

    let last = tenants::lock_last_place(connection, tenant).await?;
    // Looked for only now: whoever had the lock before has given places meanwhile.
    let placed = sqlx::query!(
        "WITH next AS (
             SELECT seq, row_number() OVER (ORDER BY seq) AS number FROM (
                 SELECT seq FROM events WHERE tenant = $1 AND place IS NULL ORDER BY seq LIMIT $3
             ) AS waiting
         )
         UPDATE events e SET place = $2 + next.number FROM next WHERE e.seq = next.seq",
        tenant.0,
        last,
        MAX_PLACED,
    )
    .execute(&mut *connection)
    .await?;

    tenants::add_places(connection, tenant, placed.rows_affected()).await
}
