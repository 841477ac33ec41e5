//! Addresses for notifications that a new base has landed.

use uuid::Uuid;

use super::{Database, audit_events};
use crate::service::access::Caller;

/// What a token stands for.
#[derive(Clone, Debug)]
pub struct Inbound {
    pub tenant: Uuid,
    /// Name of the base model.
    pub base_model: String,
    /// The folder whose folders are its versions.
    pub prefix: String,
}

/// Makes an address for a tenant's base model; `None` where it has none of this name.
///
/// # Errors
/// From the database.
pub async fn create(
    database: &Database,
    caller: impl Into<Caller>,
    (base_model, prefix): (&str, &str),
    secret_sha256: [u8; 32],
) -> Result<Option<Uuid>, sqlx::Error> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    let id = sqlx::query_scalar!(
        "INSERT INTO inbound_tokens (id, tenant, base_model, prefix, secret_sha256)
         SELECT $1, tenant, id, $4, $5 FROM base_models WHERE tenant = $2 AND name = $3
         RETURNING id",
        Uuid::now_v7(),
        caller.tenant,
        base_model,
        prefix,
        &secret_sha256[..],
    )
    .fetch_optional(&mut *scope)
    .await?;
    let Some(id) = id else { return Ok(None) };
    let subject = format!("base_models/{base_model}/inbound_tokens/{id}");
    audit_events::record(&mut scope, caller, "inbound_token.create", &subject).await?;
    scope.commit().await?;
    Ok(Some(id))
}

/// Withdraws an address; false where there is none.
///
/// # Errors
/// From the database.
pub async fn delete(
    database: &Database,
    caller: impl Into<Caller>,
    base_model: &str,
    id: Uuid,
) -> Result<bool, sqlx::Error> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    let deleted = sqlx::query!(
        "DELETE FROM inbound_tokens t USING base_models m
         WHERE t.id = $1 AND t.tenant = $2 AND m.id = t.base_model AND m.name = $3",
        id,
        caller.tenant,
        base_model,
    )
    .execute(&mut *scope)
    .await?;
    if deleted.rows_affected() == 0 {
        return Ok(false);
    }
    let subject = format!("base_models/{base_model}/inbound_tokens/{id}");
    audit_events::record(&mut scope, caller, "inbound_token.delete", &subject).await?;
    scope.commit().await?;
    Ok(true)
}

/// What a token stands for, by its digest; whoever holds it needs no key.
///
/// # Errors
/// From the database.
pub async fn find(
    database: &Database,
    secret_sha256: [u8; 32],
) -> Result<Option<Inbound>, sqlx::Error> {
    sqlx::query_as!(
        Inbound,
        "UPDATE inbound_tokens t SET last_used_at = now() FROM base_models m
         WHERE t.secret_sha256 = $1 AND m.id = t.base_model
         RETURNING t.tenant, m.name AS base_model, t.prefix",
        &secret_sha256[..],
    )
    .fetch_optional(&database.pool)
    .await
}
