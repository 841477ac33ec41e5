//! Tenants: who owns keys, transfers and all the rest.

use time::OffsetDateTime;

use super::{Database, audit_events, webhook_endpoints::SecretError};
use crate::{
    contract::{events::AuditAction, ids::TenantId},
    service::domain::{
        access::{Caller, Tenant},
        events::Secret,
    },
};

/// The tenant of this name, if there is one.
///
/// # Errors
/// From the database.
pub async fn named(database: &Database, name: &str) -> Result<Option<TenantId>, sqlx::Error> {
    let id = sqlx::query_scalar!("SELECT id FROM tenants WHERE name = $1", name)
        .fetch_optional(&database.pool)
        .await?;

    Ok(id.map(TenantId))
}

/// The tenant of this name, added where there was none.
///
/// # Errors
/// From the database.
pub async fn add(database: &Database, name: &str) -> Result<TenantId, sqlx::Error> {
    // The update changes nothing; it makes the row that was there be returned.
    let id = sqlx::query_scalar!(
        "INSERT INTO tenants (id, name) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET name = excluded.name
         RETURNING id",
        TenantId::generate().0,
        name,
    )
    .fetch_one(&database.pool)
    .await?;

    Ok(id.into())
}

/// Every tenant, by name.
///
/// # Errors
/// From the database.
pub async fn list(database: &Database) -> Result<Vec<Tenant>, sqlx::Error> {
    sqlx::query_as!(
        Tenant,
        "SELECT id, name, created_at, max_queued_transfers AS queued_transfers,
                max_compute_seconds_per_day AS compute_seconds_per_day,
                max_result_bytes_per_day AS result_bytes_per_day
         FROM tenants ORDER BY name",
    )
    .fetch_all(&database.pool)
    .await
}

/// Quotas to be: `None` leaves one as it is, `Some(None)` is what the settings say.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewQuotas {
    pub queued_transfers: Option<Option<i32>>,
    pub compute_seconds_per_day: Option<Option<i64>>,
    pub result_bytes_per_day: Option<Option<i64>>,
}

/// Gives a tenant quotas of its own; `None` where there is no such tenant.
///
/// # Errors
/// From the database.
pub async fn set_quotas(
    database: &Database,
    name: &str,
    quotas: NewQuotas,
) -> Result<Option<Tenant>, sqlx::Error> {
    let Some(id) = named(database, name).await? else {
        return Ok(None);
    };

    let mut scope = database.scope(id).await?;
    let tenant = sqlx::query_as!(
        Tenant,
        "UPDATE tenants SET
             max_queued_transfers = CASE WHEN $2 THEN $3 ELSE max_queued_transfers END,
             max_compute_seconds_per_day = CASE WHEN $4 THEN $5 ELSE max_compute_seconds_per_day END,
             max_result_bytes_per_day = CASE WHEN $6 THEN $7 ELSE max_result_bytes_per_day END
         WHERE id = $1
         RETURNING id, name, created_at, max_queued_transfers AS queued_transfers,
                   max_compute_seconds_per_day AS compute_seconds_per_day,
                   max_result_bytes_per_day AS result_bytes_per_day",
        id.0,
        quotas.queued_transfers.is_some(),
        quotas.queued_transfers.flatten(),
        quotas.compute_seconds_per_day.is_some(),
        quotas.compute_seconds_per_day.flatten(),
        quotas.result_bytes_per_day.is_some(),
        quotas.result_bytes_per_day.flatten(),
    )
    .fetch_one(&mut *scope)
    .await?;

    audit_events::record(
        &mut scope,
        Caller::from(id),
        AuditAction::TenantQuotas,
        &format!("tenants/{name}"),
    )
    .await?;

    scope.commit().await?;

    Ok(Some(tenant))
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
        caller.tenant.0,
        secret.bytes(),
    )
    .fetch_one(&mut *scope)
    .await?;

    audit_events::record(
        &mut scope,
        caller,
        AuditAction::CallbackSecretRotate,
        "callback_secret",
    )
    .await?;
    scope.commit().await?;

    Ok((secret, until))
}
