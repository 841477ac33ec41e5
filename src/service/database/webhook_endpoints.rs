//! Endpoints of webhooks, and the keys they verify by.

pub(in crate::service) mod health;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Database;
use crate::{
    contract::ids::{TenantId, WebhookEndpointId},
    service::domain::events::{Endpoint, Secret},
};

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

/// Makes an endpoint or changes it; true where it was made. A change is a new beginning: earlier failures are
/// forgotten.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn put(
    connection: &mut PgConnection,
    tenant: TenantId,
    name: &str,
    wanted: &Wanted,
    secret: &Secret,
) -> Result<(Endpoint, bool), sqlx::Error> {
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
        tenant.0,
        name,
        wanted.url,
        &wanted.events,
        wanted.enabled,
        secret.bytes(),
    )
    .fetch_one(connection)
    .await?;
    let created = row.created;

    Ok((row.into(), created))
}

/// How many endpoints a tenant has.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn count(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> Result<i64, sqlx::Error> {
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
pub(in crate::service) async fn delete(
    connection: &mut PgConnection,
    tenant: TenantId,
    name: &str,
) -> Result<bool, sqlx::Error> {
    let gone = sqlx::query!(
        "DELETE FROM webhook_endpoints WHERE tenant = $1 AND name = $2",
        tenant.0,
        name,
    )
    .execute(connection)
    .await?;

    Ok(gone.rows_affected() == 1)
}

/// Replaces an endpoint's secret; the one before signs too for a day. `None` where the tenant has no such
/// endpoint.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn rotate(
    connection: &mut PgConnection,
    tenant: TenantId,
    name: &str,
    secret: &Secret,
) -> Result<Option<Endpoint>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"UPDATE webhook_endpoints
           SET previous_secret = secret, secret = $3, updated_at = now(),
               previous_secret_until = now() + make_interval(hours => 24)
           WHERE tenant = $1 AND name = $2
           RETURNING id, name, url, events, enabled, disabled_reason, failing_since,
                     previous_secret_until, created_at, updated_at, false AS "created!""#,
        tenant.0,
        name,
        secret.bytes(),
    )
    .fetch_optional(connection)
    .await?;

    Ok(row.map(Endpoint::from))
}

/// An endpoint and whether it takes deliveries.
pub(in crate::service) struct Named {
    pub id: WebhookEndpointId,
    pub enabled: bool,
}

/// A tenant's endpoint of this name, which is not deleted until the transaction ends.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn keep(
    connection: &mut PgConnection,
    tenant: TenantId,
    name: &str,
) -> Result<Option<Named>, sqlx::Error> {
    sqlx::query_as!(
        Named,
        "SELECT id, enabled FROM webhook_endpoints WHERE tenant = $1 AND name = $2 FOR KEY SHARE",
        tenant.0,
        name,
    )
    .fetch_optional(connection)
    .await
}
