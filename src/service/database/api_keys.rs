//! Bearer keys of tenants.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Database;
use crate::{
    contract::ids::{KeyId, TenantId},
    service::domain::access::{ApiKey, Principal, Role, Secret},
};

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewKey<'a> {
    pub name: &'a str,
    pub role: Role,
    pub expires_at: Option<OffsetDateTime>,
}

/// Adds a key of a tenant; `None` where there is no such tenant.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn insert(
    connection: &mut PgConnection,
    tenant: TenantId,
    new: &NewKey<'_>,
    secret: &Secret,
) -> Result<Option<ApiKey>, sqlx::Error> {
    sqlx::query_as!(
        ApiKey,
        r#"INSERT INTO api_keys (id, tenant, name, role, prefix, secret_sha256, expires_at)
           SELECT $1, id, $3, $4, $5, $6, $7 FROM tenants WHERE id = $2
           RETURNING id, tenant, name, role AS "role: Role", prefix, created_at, expires_at, revoked_at"#,
        KeyId::generate().0,
        tenant.0,
        new.name,
        new.role as Role,
        secret.prefix(),
        &secret.sha256()[..],
        new.expires_at,
    )
    .fetch_optional(connection)
    .await
}

/// A key that holds.
#[derive(Clone, Copy, Debug)]
pub struct Authenticated {
    pub principal: Principal,
    /// Until it ends by itself; none: never.
    pub left: Option<Duration>,
}

/// Whose key this is, if it is one and holds.
///
/// # Errors
/// From the database.
pub async fn authenticate(
    database: &Database,
    secret: &str,
) -> Result<Option<Authenticated>, sqlx::Error> {
    let Some(secret) = Secret::parse(secret) else {
        return Ok(None);
    };

    let row = sqlx::query!(
        r#"SELECT id, tenant, role AS "role: Role", secret_sha256,
                  extract(epoch FROM expires_at - now())::double precision AS seconds_left
           FROM api_keys
           WHERE prefix = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"#,
        secret.prefix(),
    )
    .fetch_optional(&database.pool)
    .await?;

    Ok(row
        .filter(|row| secret.matches(&row.secret_sha256))
        .map(|row| Authenticated {
            principal: Principal {
                tenant: row.tenant.into(),
                key_id: Some(row.id.into()),
                role: row.role,
            },
            // Beyond what a duration can be, it is as good as never.
            left: row
                .seconds_left
                .and_then(|left| Duration::try_from_secs_f64(left.max(0.0)).ok()),
        }))
}

/// Whether a key still holds that was authenticated before.
///
/// # Errors
/// From the database.
pub async fn holds(database: &Database, id: KeyId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM api_keys
               WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
           ) AS "holds!""#,
        id.0,
    )
    .fetch_one(&database.pool)
    .await
}

/// Up to `limit` of a tenant's keys, withdrawn ones included, newest first, older than `after`.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    after: Option<KeyId>,
    limit: i64,
) -> Result<Vec<ApiKey>, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    sqlx::query_as!(
        ApiKey,
        r#"SELECT id, tenant, name, role AS "role: Role", prefix, created_at, expires_at, revoked_at
           FROM api_keys WHERE tenant = $1 AND ($2::uuid IS NULL OR id < $2)
           ORDER BY id DESC LIMIT $3"#,
        tenant.0,
        after.map(Uuid::from),
        limit,
    )
    .fetch_all(&mut *scope)
    .await
}

/// Withdraws a tenant's key; whether there is one. Withdrawing twice is withdrawing once.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn revoke(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: KeyId,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 AND tenant = $2",
        id.0,
        tenant.0,
    )
    .execute(connection)
    .await?;

    Ok(done.rows_affected() == 1)
}

/// Whether any key was ever made: then the service does not run open. A withdrawn key counts, so
/// that withdrawing the last one does not open the service.
///
/// # Errors
/// From the database.
pub async fn any_exists(database: &Database) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM api_keys) AS "exists!""#)
        .fetch_one(&database.pool)
        .await
}
