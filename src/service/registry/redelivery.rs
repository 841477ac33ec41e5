//! Deliveries that somebody asks for: one that is made again, and a test of an endpoint.

use serde_json::json;

use crate::{
    contract::{
        events::{AuditAction, EventKind},
        ids::DeliveryId,
    },
    service::{
        database::{
            Database, audit_events,
            deliveries::{self, Replay},
            events, webhook_endpoints,
        },
        domain::{access::Caller, events::Delivery},
    },
};

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
    let wanted = Replay {
        tenant: caller.tenant,
        endpoint,
        delivery: id,
    };
    let mut scope = database.scope(caller.tenant).await?;
    if deliveries::is_enabled(&mut scope, wanted).await? == Some(false) {
        return Err(ReplayError::Disabled);
    }

    let Some(delivery) = deliveries::replay(&mut scope, wanted).await? else {
        return Ok(None);
    };

    deliveries::wake(&mut scope).await?;
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
    let found = webhook_endpoints::keep(&mut scope, caller.tenant, endpoint).await?;
    let Some(found) = found else { return Ok(None) };
    if !found.enabled {
        return Err(ReplayError::Disabled);
    }

    let subject = format!("webhook_endpoints/{endpoint}");
    let kind = EventKind::WebhookEndpointTest;
    let event = events::record(&mut scope, caller.tenant, &subject, kind, json!({})).await?;
    let delivery = deliveries::insert_only_for(&mut scope, caller.tenant, event, found.id).await?;
    deliveries::wake(&mut scope).await?;

    let action = AuditAction::WebhookEndpointTest;
    audit_events::record(&mut scope, caller, action, &subject).await?;
    scope.commit().await?;

    Ok(Some(delivery))
}
