//! Endpoints of webhooks, and the keys they verify by.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Database, audit_events, deliveries};
use crate::{
    contract::{
        events::AuditAction,
        ids::{TenantId, WebhookEndpointId},
    },
    service::domain::{
        access::Caller,
        events::{Endpoint, Secret},
    },
};

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the operating system gives no randomness: {0}")]
    Randomness(#[from] std::io::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum PutError {
    #[error(
        "this tenant has {0} endpoints, as many as it may (webhooks.endpoints_per_tenant); delete one first"
    )]
    Full(u32),
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl From<sqlx::Error> for PutError {
    fn from(error: sqlx::Error) -> Self {
        Self::Secret(error.into())
    }
}

/// What an owner says of an endpoint.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub url: String,
    pub events: Vec<String>,
    pub enabled: bool,
}

struct Row {
    id: WebhookEndpointId,
    name: String,
    url: String,
    events: Vec<String>,
    enabled: bool,
    disabled_reason: Option<String>,
    failing_since: Option<OffsetDateTime>,
    previous_secret_until: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    created: bool,
}

impl From<Row> for Endpoint {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            name: row.name,
            url: row.url,
            events: row.events,
            enabled: row.enabled,
            disabled_reason: row.disabled_reason,
            failing_since: row.failing_since,
            previous_secret_until: row.previous_secret_until,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// Makes an endpoint or changes it; the secret where it was made, shown this once. A change is a new
/// beginning: earlier failures are forgotten. Where it disables, what waits ends. A tenant has at most `limit`
/// endpoints; 0: any number.
///
/// # Errors
/// See [`PutError`].
pub async fn put(
    database: &Database,
    caller: impl Into<Caller>,
    name: &str,
    wanted: &Wanted,
    limit: u32,
) -> Result<(Endpoint, Option<Secret>), PutError> {
    let caller = caller.into();
    let secret = Secret::draw().map_err(SecretError::from)?;
    let mut scope = database.scope(caller.tenant).await?;
    let row = sqlx::query_as!(
        Row,
        r#"INSERT INTO webhook_endpoints (id, tenant, name, url, events, enabled, secret)
           VALUES ($1, $2, $3, $4, $5, $6, $7)
           ON CONFLICT (tenant, name) DO UPDATE
           SET url = excluded.url, events = excluded.events, enabled = excluded.enabled,
               disabled_reason = NULL, failing_since = NULL, paused_until = NULL, updated_at = now()
           RETURNING id, name, url, events, enabled, disabled_reason, failing_since,
                     previous_secret_until, created_at, updated_at,
                     (xmax = 0) AS "created!""#,
        WebhookEndpointId::generate().0,
        caller.tenant.0,
        name,
        wanted.url,
        &wanted.events,
        wanted.enabled,
        secret.bytes(),
    )
    .fetch_one(&mut *scope)
    .await?;
    if row.created && limit > 0 && count(&mut scope, caller.tenant).await? > i64::from(limit) {
        return Err(PutError::Full(limit));
    }

    deliveries::end_waiting(&mut scope, row.id).await?;
    let subject = format!("webhook_endpoints/{name}");
    audit_events::record(
        &mut scope,
        caller,
        AuditAction::WebhookEndpointPut,
        &subject,
    )
    .await?;
    scope.commit().await?;
    let created = row.created;

    Ok((row.into(), created.then_some(secret)))
}

/// How many endpoints a tenant has. Those who add some wait for each other from here on.
async fn count(connection: &mut PgConnection, tenant: TenantId) -> Result<i64, sqlx::Error> {
    sqlx::query!(
        "SELECT id FROM tenants WHERE id = $1 FOR NO KEY UPDATE",
        tenant.0
    )
    .fetch_optional(&mut *connection)
    .await?;
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM webhook_endpoints WHERE tenant = $1"#,
        tenant.0,
    )
    .fetch_one(connection)
    .await
}

/// A tenant's endpoint, if it has one of this name.
///
/// # Errors
/// From the database.
pub async fn get(
    database: &Database,
    tenant: TenantId,
    name: &str,
) -> Result<Option<Endpoint>, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id, name, url, events, enabled, disabled_reason, failing_since,
                  previous_secret_until, created_at, updated_at, false AS "created!"
           FROM webhook_endpoints WHERE tenant = $1 AND name = $2"#,
        tenant.0,
        name,
    )
    .fetch_optional(&mut *scope)
    .await?;

    Ok(row.map(Endpoint::from))
}

/// Up to `limit` of a tenant's endpoints, newest first, older than `after`.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    after: Option<WebhookEndpointId>,
    limit: i64,
) -> Result<Vec<Endpoint>, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id, name, url, events, enabled, disabled_reason, failing_since,
                  previous_secret_until, created_at, updated_at, false AS "created!"
           FROM webhook_endpoints
           WHERE tenant = $1
             AND ($2::uuid IS NULL OR id < $2)
           ORDER BY id DESC LIMIT $3"#,
        tenant.0,
        after.map(Uuid::from),
        limit,
    )
    .fetch_all(&mut *scope)
    .await?;

    Ok(rows.into_iter().map(Endpoint::from).collect())
}

/// Removes a tenant's endpoint with its deliveries; whether there was one.
///
/// # Errors
/// From the database.
pub async fn delete(
    database: &Database,
    caller: impl Into<Caller>,
    name: &str,
) -> Result<bool, sqlx::Error> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    let gone = sqlx::query!(
        "DELETE FROM webhook_endpoints WHERE tenant = $1 AND name = $2",
        caller.tenant.0,
        name,
    )
    .execute(&mut *scope)
    .await?;
    if gone.rows_affected() == 0 {
        return Ok(false);
    }

    let subject = format!("webhook_endpoints/{name}");
    audit_events::record(
        &mut scope,
        caller,
        AuditAction::WebhookEndpointDelete,
        &subject,
    )
    .await?;
    scope.commit().await?;

    Ok(true)
}

/// Draws a new secret, shown this once; the present one signs too for a day. `None` where the tenant
/// has no such endpoint.
///
/// # Errors
/// See [`SecretError`].
pub async fn rotate(
    database: &Database,
    caller: impl Into<Caller>,
    name: &str,
) -> Result<Option<(Endpoint, Secret)>, SecretError> {
    let caller = caller.into();
    let secret = Secret::draw()?;
    let mut scope = database.scope(caller.tenant).await?;
    let row = sqlx::query_as!(
        Row,
        r#"UPDATE webhook_endpoints
           SET previous_secret = secret, secret = $3, updated_at = now(),
               previous_secret_until = now() + make_interval(hours => 24)
           WHERE tenant = $1 AND name = $2
           RETURNING id, name, url, events, enabled, disabled_reason, failing_since,
                     previous_secret_until, created_at, updated_at, false AS "created!""#,
        caller.tenant.0,
        name,
        secret.bytes(),
    )
    .fetch_optional(&mut *scope)
    .await?;
    let Some(row) = row else { return Ok(None) };

    let subject = format!("webhook_endpoints/{name}");
    audit_events::record(
        &mut scope,
        caller,
        AuditAction::WebhookEndpointRotate,
        &subject,
    )
    .await?;
    scope.commit().await?;

    Ok(Some((row.into(), secret)))
}
