//! Tenants: who owns keys, transfers and all the rest.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::Database;
use crate::{
    contract::ids::TenantId,
    service::domain::{access::Tenant, events::Secret},
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

/// Gives a tenant quotas of its own.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn set_quotas(
    connection: &mut PgConnection,
    id: TenantId,
    quotas: NewQuotas,
) -> Result<Tenant, sqlx::Error> {
    sqlx::query_as!(
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
    .fetch_one(connection)
    .await
}

/// Replaces the secret for the callbacks of the tenant's jobs; the time until which the one before signs too.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn rotate_callback_secret(
    connection: &mut PgConnection,
    tenant: TenantId,
    secret: &Secret,
) -> Result<OffsetDateTime, sqlx::Error> {
    sqlx::query_scalar!(
        r#"UPDATE tenants
           SET previous_callback_secret = callback_secret, callback_secret = $2,
               previous_callback_secret_until = now() + make_interval(hours => 24)
           WHERE id = $1
           RETURNING previous_callback_secret_until AS "until!""#,
        tenant.0,
        secret.bytes(),
    )
    .fetch_one(connection)
    .await
}

/// Keeps the tenant's row until the transaction ends.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn lock(
    connection: &mut PgConnection,
    id: TenantId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT id FROM tenants WHERE id = $1 FOR NO KEY UPDATE",
        id.0
    )
    .fetch_optional(connection)
    .await?;
    Ok(())
}

/// The last place in the tenant's feed, with its row locked until the transaction ends.
///
/// # Errors
/// From the database.
pub(super) async fn lock_last_place(
    connection: &mut PgConnection,
    id: TenantId,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT events_placed FROM tenants WHERE id = $1 FOR NO KEY UPDATE",
        id.0
    )
    .fetch_one(connection)
    .await
}

/// Notes that so many more events have their places in the tenant's feed.
///
/// # Errors
/// From the database.
pub(super) async fn add_places(
    connection: &mut PgConnection,
    id: TenantId,
    places: u64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE tenants SET events_placed = events_placed + $2 WHERE id = $1",
        id.0,
        i64::try_from(places).unwrap_or(i64::MAX),
    )
    .execute(connection)
    .await?;
    Ok(())
}
