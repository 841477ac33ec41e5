//! Bearer keys of tenants.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::{Database, audit_events};
use crate::{
    contract::{
        events::AuditAction,
        ids::{KeyId, TenantId},
    },
    service::domain::access::{ApiKey, Caller, Principal, Role, Secret},
};

#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error("no tenant has the id {0}")]
    UnknownTenant(TenantId),
    #[error("the operating system gives no randomness: {0}")]
    Randomness(#[from] std::io::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Makes a key; the secret beside it is shown this once.
///
/// # Errors
/// See [`CreateError`].
pub async fn create(
    database: &Database,
    name: &str,
    caller: impl Into<Caller>,
    role: Role,
    expires_at: Option<OffsetDateTime>,
) -> Result<(ApiKey, String), CreateError> {
    let caller = caller.into();
    let secret = Secret::draw()?;
    let mut scope = database.scope(caller.tenant).await?;
    let key = sqlx::query_as!(
        ApiKey,
        r#"INSERT INTO api_keys (id, tenant, name, role, prefix, secret_sha256, expires_at)
           SELECT $1, id, $3, $4, $5, $6, $7 FROM tenants WHERE id = $2
           RETURNING id, tenant, name, role AS "role: Role", prefix, created_at, expires_at, revoked_at"#,
        KeyId::generate().0,
        caller.tenant.0,
        name,
        role as Role,
        secret.prefix(),
        &secret.sha256()[..],
        expires_at,
    )
    .fetch_optional(&mut *scope)
    .await?
    .ok_or(CreateError::UnknownTenant(caller.tenant))?;

    let subject = format!("api_keys/{}", key.id);
    audit_events::record(&mut scope, caller, AuditAction::ApiKeyCreate, &subject).await?;
    scope.commit().await?;

    Ok((key, secret.reveal().to_owned()))
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

/// Withdraws a tenant's key; whether there was one. Withdrawing twice is withdrawing once.
///
/// # Errors
/// From the database.
pub async fn revoke(
    database: &Database,
    caller: impl Into<Caller>,
    id: KeyId,
) -> Result<bool, sqlx::Error> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    let done = sqlx::query!(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 AND tenant = $2",
        id.0,
        caller.tenant.0,
    )
    .execute(&mut *scope)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }

    let subject = format!("api_keys/{id}");
    audit_events::record(&mut scope, caller, AuditAction::ApiKeyRevoke, &subject).await?;
    scope.commit().await?;

    Ok(true)
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
