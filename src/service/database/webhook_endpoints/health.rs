//! Whether an endpoint takes what is posted, within a transaction of a use case.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::contract::ids::{TenantId, WebhookEndpointId};

/// Keeps the endpoint's row until the transaction ends. One that has been deleted has no deliveries either.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn lock(
    connection: &mut PgConnection,
    id: WebhookEndpointId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT id FROM webhook_endpoints WHERE id = $1 FOR NO KEY UPDATE",
        id.0
    )
    .fetch_optional(connection)
    .await?;
    Ok(())
}

/// Forgets an endpoint's failures.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn note_success(
    connection: &mut PgConnection,
    id: Option<WebhookEndpointId>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE webhook_endpoints SET failing_since = NULL, paused_until = NULL
         WHERE id = $1 AND (failing_since IS NOT NULL OR paused_until IS NOT NULL)",
        id.map(Uuid::from),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A failed attempt, as far as its endpoint is concerned.
#[derive(Clone, Copy, Debug)]
pub(in crate::service) struct Failure {
    /// The receiver wants no more of these.
    pub is_gone: bool,
    /// Seconds in which nothing is to be posted.
    pub pause: f64,
    /// Since when the delivery was tried, where it was given up.
    pub tried_since: Option<OffsetDateTime>,
    /// Seconds for which an endpoint may fail.
    pub give_up: f64,
}

/// An endpoint after a failure.
pub(in crate::service) struct Failing {
    pub tenant: TenantId,
    pub name: String,
    /// It is enabled and has failed for too long.
    pub hopeless: bool,
}

/// Notes an endpoint's failure. It is hopeless where it is gone, fails for as long as a delivery is tried, or a
/// delivery was given up and it has taken none since that was begun.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn note_failure(
    connection: &mut PgConnection,
    id: WebhookEndpointId,
    failure: Failure,
) -> Result<Option<Failing>, sqlx::Error> {
    sqlx::query_as!(
        Failing,
        r#"UPDATE webhook_endpoints e
           SET failing_since = coalesce(failing_since, now()),
               paused_until = CASE WHEN $5::double precision > 0 THEN now() + make_interval(secs => $5) END
           WHERE id = $1
           RETURNING tenant, name,
               enabled AND ($2 OR failing_since <= now() - make_interval(secs => $3)
                   OR ($4::timestamptz IS NOT NULL AND NOT EXISTS (
                       SELECT FROM deliveries d
                       WHERE d.endpoint = e.id AND d.status = 'delivered'
                         AND d.finished_at >= $4))) AS "hopeless!""#,
        id.0,
        failure.is_gone,
        failure.give_up,
        failure.tried_since,
        failure.pause,
    )
    .fetch_optional(connection)
    .await
}

/// Disables an endpoint.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn disable(
    connection: &mut PgConnection,
    id: WebhookEndpointId,
    reason: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE webhook_endpoints SET enabled = false, disabled_reason = $2 WHERE id = $1",
        id.0,
        reason,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets back by so many seconds since when endpoints fail, and until when they are paused.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn set_back(
    connection: &mut PgConnection,
    seconds: f64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE webhook_endpoints
         SET failing_since = failing_since - make_interval(secs => $1),
             paused_until = paused_until - make_interval(secs => $1)
         WHERE failing_since IS NOT NULL OR paused_until IS NOT NULL",
        seconds,
    )
    .execute(connection)
    .await?;
    Ok(())
}
