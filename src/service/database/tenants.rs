//! Tenants: who owns keys, transfers and all the rest.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{Database, audit_events, webhook_endpoints::SecretError};
use crate::service::{
    access::{Caller, Tenant},
    webhooks::Secret,
};

/// The tenant of this name, if there is one.
///
/// # Errors
/// From the database.
pub async fn named(database: &Database, name: &str) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!("SELECT id FROM tenants WHERE name = $1", name)
        .fetch_optional(&database.pool)
        .await
}

/// The tenant of this name, added where there was none.
///
/// # Errors
/// From the database.
pub async fn add(database: &Database, name: &str) -> Result<Uuid, sqlx::Error> {
    // The update changes nothing; it makes the row that was there be returned.
    sqlx::query_scalar!(
        "INSERT INTO tenants (id, name) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET name = excluded.name
         RETURNING id",
        Uuid::now_v7(),
        name,
    )
    .fetch_one(&database.pool)
    .await
}

/// Every tenant, by name.
///
/// # Errors
/// From the database.
pub async fn list(database: &Database) -> Result<Vec<Tenant>, sqlx::Error> {
    sqlx::query_as!(Tenant, "SELECT id, name, created_at FROM tenants ORDER BY name")
        .fetch_all(&database.pool)
        .await
}

/// Draws a new secret for the callbacks of the tenant's jobs, shown this once; until the time beside
/// it the one before signs too.
///
/// # Errors
/// See [`SecretError`].
pub async fn rotate_callback_secret(
    database: &Database,
    caller: impl Into<Caller>,
) -> Result<(Secret, OffsetDateTime), SecretError> {
    let caller = caller.into();
    let secret = Secret::draw()?;
    let mut scope = database.scope(caller.tenant).await?;
    let until = sqlx::query_scalar!(
        r#"UPDATE tenants
           SET previous_callback_secret = callback_secret, callback_secret = $2,
               previous_callback_secret_until = now() + make_interval(hours => 24)
           WHERE id = $1
           RETURNING previous_callback_secret_until AS "until!""#,
        caller.tenant,
        secret.bytes(),
    )
    .fetch_one(&mut *scope)
    .await?;
    audit_events::record(&mut scope, caller, "callback_secret.rotate", "callback_secret").await?;
    scope.commit().await?;
    Ok((secret, until))
}
