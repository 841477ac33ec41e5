//! Deliveries as the endpoint's owner sees them.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Database;
use crate::{
    contract::ids::{DeliveryId, EventId, TenantId, WebhookEndpointId},
    service::domain::events::{Delivery, DeliveryStatus},
};

/// Which deliveries of an endpoint to list.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    pub status: Option<DeliveryStatus>,
    /// The last delivery of the page before.
    pub after: Option<DeliveryId>,
    pub limit: i64,
}

/// Deliveries to a tenant's endpoint, newest first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
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
        tenant.0,
        endpoint,
        filter.status as Option<DeliveryStatus>,
        filter.after.map(Uuid::from),
        filter.limit,
    )
    .fetch_all(&mut *scope)
    .await
}

/// A delivery of an endpoint, by its name.
#[derive(Clone, Copy, Debug)]
pub(in crate::service) struct Replay<'a> {
    pub tenant: TenantId,
    pub endpoint: &'a str,
    pub delivery: DeliveryId,
}

/// Whether the delivery's endpoint is enabled; `None` where the tenant's endpoint has no such delivery.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn is_enabled(
    connection: &mut PgConnection,
    wanted: Replay<'_>,
) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT e.enabled FROM webhook_endpoints e JOIN deliveries d ON d.endpoint = e.id
         WHERE d.id = $3 AND d.tenant = $1 AND e.tenant = $1 AND e.name = $2",
        wanted.tenant.0,
        wanted.endpoint,
        wanted.delivery.0,
    )
    .fetch_optional(connection)
    .await
}

/// Makes a delivery due at once, with all its time before it; `None` where the tenant's endpoint has none of this
/// id.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn replay(
    connection: &mut PgConnection,
    wanted: Replay<'_>,
) -> Result<Option<Delivery>, sqlx::Error> {
    sqlx::query_as!(
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
        wanted.tenant.0,
        wanted.endpoint,
        wanted.delivery.0,
    )
    .fetch_optional(connection)
    .await
}

/// Makes an event be delivered to one endpoint, whatever that listens to, and to no other.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn insert_only_for(
    connection: &mut PgConnection,
    tenant: TenantId,
    event: EventId,
    endpoint: WebhookEndpointId,
) -> Result<Delivery, sqlx::Error> {
    // The event's trigger has told every endpoint that listens to everything.
    sqlx::query!(
        "DELETE FROM deliveries WHERE event = $1 AND endpoint <> $2",
        event.0,
        endpoint.0
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "INSERT INTO deliveries (tenant, event, endpoint) VALUES ($1, $2, $3)
         ON CONFLICT (event, endpoint) DO NOTHING",
        tenant.0,
        event.0,
        endpoint.0,
    )
    .execute(&mut *connection)
    .await?;

    sqlx::query_as!(
        Delivery,
        r#"SELECT d.id, d.event, v.kind, v.subject, d.status AS "status: DeliveryStatus",
                  d.attempts, d.response_status, d.error, d.created_at, d.last_attempt_at,
                  d.next_attempt_at AS "next_attempt_at?", d.finished_at
           FROM deliveries d JOIN events v ON v.id = d.event
           WHERE d.event = $1 AND d.endpoint = $2"#,
        event.0,
        endpoint.0,
    )
    .fetch_one(connection)
    .await
}

/// Wakes the senders, when the transaction commits.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn wake(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_notify('deliveries', '')")
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes deliveries that ended so many days ago; how many.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn prune(database: &Database, days: i32) -> Result<u64, sqlx::Error> {
    let pruned = sqlx::query!(
        "DELETE FROM deliveries WHERE finished_at < now() - make_interval(days => $1)",
        days
    )
    .execute(&database.pool)
    .await?;

    Ok(pruned.rows_affected())
}
