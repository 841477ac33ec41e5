//! What an attempt to post came to, for its delivery and its endpoint.
//!
//! Locks are taken in one order: the endpoint, then its deliveries. To delete an endpoint takes them so, by the
//! cascade; a record does the same, and waits for nobody who waits for it.

use serde_json::json;
use sqlx::PgConnection;

use crate::{
    contract::{events::EventKind, ids::WebhookEndpointId},
    service::{
        database::{
            Database,
            deliveries::{self, Claimed},
            events,
            webhook_endpoints::health::{self, Failure},
        },
        domain::{
            events::Attempt,
            leases::{Lease, RetryPolicy},
        },
    },
};

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

/// Records that it was taken; false when the lease is lost.
///
/// # Errors
/// From the database; the delivery is then attempted again.
pub async fn succeed(
    database: &Database,
    held: &Lease<Claimed>,
    attempt: &Attempt,
) -> Result<bool, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    lock_endpoint(&mut transaction, held).await?;
    if !deliveries::record_success(&mut transaction, held, attempt).await? {
        return Ok(false);
    }

    health::note_success(&mut transaction, held.endpoint).await?;
    transaction.commit().await?;

    Ok(true)
}

/// Records a failed attempt: to be made again, or given up when it was tried for long enough or the
/// receiver said that it is gone. An endpoint that is gone, or took nothing for as long, is disabled,
/// and with that everything ends that waits for it.
///
/// # Errors
/// From the database; the delivery is then attempted again.
pub async fn fail(
    database: &Database,
    held: &Lease<Claimed>,
    attempt: &Attempt,
    policy: RetryPolicy,
) -> Result<AfterFailure, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    lock_endpoint(&mut transaction, held).await?;
    let fate = deliveries::record_failure(&mut transaction, held, attempt, policy).await?;
    let Some(fate) = fate else {
        return Ok(AfterFailure::Lost);
    };

    let mut after = if fate.over {
        AfterFailure::Failed
    } else {
        AfterFailure::Pending
    };
    if let Some(endpoint) = held.endpoint {
        let failure = Failure {
            is_gone: attempt.is_gone(),
            pause: attempt.pause(policy.max_wait).as_secs_f64(),
            tried_since: fate.over.then_some(fate.retry_since),
            give_up: policy.give_up.as_secs_f64(),
        };
        if blame(&mut transaction, endpoint, failure, attempt).await? {
            after = AfterFailure::Disabled;
        }
        deliveries::end_waiting(&mut transaction, endpoint).await?;
    }

    transaction.commit().await?;

    Ok(after)
}

/// Keeps the endpoint's row until the transaction ends, before its deliveries are touched.
async fn lock_endpoint(
    connection: &mut PgConnection,
    held: &Lease<Claimed>,
) -> Result<(), sqlx::Error> {
    match held.endpoint {
        Some(endpoint) => health::lock(connection, endpoint).await,
        None => Ok(()),
    }
}

/// Notes the endpoint's failure; true where it is disabled for it.
async fn blame(
    connection: &mut PgConnection,
    endpoint: WebhookEndpointId,
    failure: Failure,
    attempt: &Attempt,
) -> Result<bool, sqlx::Error> {
    let failing = health::note_failure(connection, endpoint, failure).await?;
    let Some(failing) = failing.filter(|failing| failing.hopeless) else {
        return Ok(false);
    };

    let reason = if failure.is_gone {
        "it answered 410 Gone"
    } else {
        "it failed for too long"
    };
    health::disable(connection, endpoint, reason).await?;

    let subject = format!("webhook_endpoints/{}", failing.name);
    let data = json!({"name": failing.name, "reason": reason, "error": attempt.error()});
    let kind = EventKind::WebhookEndpointDisabled;
    events::record(connection, failing.tenant, &subject, kind, data).await?;

    Ok(true)
}
