//! Deliveries as the endpoint's owner sees them.

use uuid::Uuid;

use super::{Database, audit_events};
use crate::{
    contract::{
        events::{AuditAction, EventKind},
        ids::{DeliveryId, EventId, TenantId},
    },
    service::domain::{
        access::Caller,
        events::{Delivery, DeliveryStatus},
    },
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

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("the endpoint is disabled; enable it first")]
    Disabled,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Makes a delivery due at once, with all its time before it; `None` where the tenant's endpoint has
/// none of this id. An attempt under way is not waited for.
///
/// # Errors
/// See [`ReplayError`].
pub async fn replay(
    database: &Database,
    caller: impl Into<Caller>,
    endpoint: &str,
    id: DeliveryId,
) -> Result<Option<Delivery>, ReplayError> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    let enabled = sqlx::query_scalar!(
        "SELECT e.enabled FROM webhook_endpoints e JOIN deliveries d ON d.endpoint = e.id
         WHERE d.id = $3 AND d.tenant = $1 AND e.tenant = $1 AND e.name = $2",
        caller.tenant.0,
        endpoint,
        id.0,
    )
    .fetch_optional(&mut *scope)
    .await?;
    if enabled == Some(false) {
        return Err(ReplayError::Disabled);
    }

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
        caller.tenant.0,
        endpoint,
        id.0,
    )
    .fetch_optional(&mut *scope)
    .await?;
    let Some(delivery) = delivery else {
        return Ok(None);
    };

    sqlx::query!("SELECT pg_notify('deliveries', '')")
        .execute(&mut *scope)
        .await?;
    let subject = format!("webhook_endpoints/{endpoint}/deliveries/{id}");
    audit_events::record(&mut scope, caller, AuditAction::DeliveryReplay, &subject).await?;
    scope.commit().await?;

    Ok(Some(delivery))
}

/// Posts an event of its own to an endpoint, and to no other; `None` where the tenant has no such endpoint.
///
/// # Errors
/// See [`ReplayError`].
pub async fn test(
    database: &Database,
    caller: impl Into<Caller>,
    endpoint: &str,
) -> Result<Option<Delivery>, ReplayError> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    let found = sqlx::query!(
        "SELECT id, enabled FROM webhook_endpoints WHERE tenant = $1 AND name = $2 FOR KEY SHARE",
        caller.tenant.0,
        endpoint,
    )
    .fetch_optional(&mut *scope)
    .await?;
    let Some(found) = found else { return Ok(None) };
    if !found.enabled {
        return Err(ReplayError::Disabled);
    }

    let event = EventId::generate();
    let subject = format!("webhook_endpoints/{endpoint}");
    sqlx::query!(
        "INSERT INTO events (id, tenant, subject, kind, data) VALUES ($1, $2, $3, $4, '{}')",
        event.0,
        caller.tenant.0,
        subject,
        EventKind::WebhookEndpointTest.name(),
    )
    .execute(&mut *scope)
    .await?;
    // The event's trigger has told whoever listens to everything; this one is for one endpoint, whatever that
    // listens to.
    sqlx::query!(
        "DELETE FROM deliveries WHERE event = $1 AND endpoint <> $2",
        event.0,
        found.id
    )
    .execute(&mut *scope)
    .await?;
    sqlx::query!(
        "INSERT INTO deliveries (tenant, event, endpoint) VALUES ($1, $2, $3)
         ON CONFLICT (event, endpoint) DO NOTHING",
        caller.tenant.0,
        event.0,
        found.id,
    )
    .execute(&mut *scope)
    .await?;
    sqlx::query!("SELECT pg_notify('deliveries', '')")
        .execute(&mut *scope)
        .await?;

    let delivery = sqlx::query_as!(
        Delivery,
        r#"SELECT d.id, d.event, v.kind, v.subject, d.status AS "status: DeliveryStatus",
                  d.attempts, d.response_status, d.error, d.created_at, d.last_attempt_at,
                  d.next_attempt_at AS "next_attempt_at?", d.finished_at
           FROM deliveries d JOIN events v ON v.id = d.event
           WHERE d.event = $1 AND d.endpoint = $2"#,
        event.0,
        found.id,
    )
    .fetch_one(&mut *scope)
    .await?;
    audit_events::record(
        &mut scope,
        caller,
        AuditAction::WebhookEndpointTest,
        &subject,
    )
    .await?;
    scope.commit().await?;

    Ok(Some(delivery))
}
