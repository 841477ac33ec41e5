//! Addresses for notifications that a new base has landed.

pub mod listings;

use sqlx::PgConnection;
use uuid::Uuid;

use super::Database;
use crate::{
    contract::ids::{BaseModelId, InboundTokenId, TenantId},
    service::domain::registry::inbound::{Inbound, InboundToken},
};

/// An address to be made.
#[derive(Clone, Debug)]
pub struct NewInbound<'a> {
    /// Name of the base model.
    pub base_model: &'a str,
    pub prefix: &'a str,
    /// How often its folder is listed unasked.
    pub poll_seconds: Option<i32>,
    pub secret_sha256: [u8; 32],
}

/// Adds an address of a tenant's base model; `None` where it has none of this name. A folder that is listed from
/// time to time is due at once.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn insert(
    connection: &mut PgConnection,
    tenant: TenantId,
    new: &NewInbound<'_>,
) -> Result<Option<InboundTokenId>, sqlx::Error> {
    let id = sqlx::query_scalar!(
        "INSERT INTO inbound_tokens
             (id, tenant, base_model, prefix, secret_sha256, poll_seconds, listing_due_at)
         SELECT $1, tenant, id, $4, $5, $6::integer, CASE WHEN $6::integer IS NOT NULL THEN now() END
         FROM base_models WHERE tenant = $2 AND name = $3
         RETURNING id",
        InboundTokenId::generate().0,
        tenant.0,
        new.base_model,
        new.prefix,
        &new.secret_sha256[..],
        new.poll_seconds,
    )
    .fetch_optional(connection)
    .await?;

    Ok(id.map(InboundTokenId))
}

/// Addresses of a tenant's base model after the given one, newest first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    base_model: &str,
    after: Option<InboundTokenId>,
    limit: i64,
) -> Result<Vec<InboundToken>, sqlx::Error> {
    sqlx::query_as!(
        InboundToken,
        "SELECT t.id, t.prefix, t.poll_seconds, t.created_at, t.last_used_at, t.listed_at,
                t.listing_error
         FROM inbound_tokens t JOIN base_models m ON m.id = t.base_model
         WHERE m.tenant = $1 AND m.name = $2 AND ($3::uuid IS NULL OR t.id < $3)
         ORDER BY t.id DESC LIMIT $4",
        tenant.0,
        base_model,
        after.map(Uuid::from),
        limit,
    )
    .fetch_all(&mut *database.scope(tenant).await?)
    .await
}

/// Withdraws an address; false where there is none.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn delete(
    connection: &mut PgConnection,
    tenant: TenantId,
    base_model: &str,
    id: InboundTokenId,
) -> Result<bool, sqlx::Error> {
    let deleted = sqlx::query!(
        "DELETE FROM inbound_tokens t USING base_models m
         WHERE t.id = $1 AND t.tenant = $2 AND m.id = t.base_model AND m.name = $3",
        id.0,
        tenant.0,
        base_model,
    )
    .execute(connection)
    .await?;

    Ok(deleted.rows_affected() == 1)
}

/// What a token stands for, by its digest; whoever holds it needs no key. The index compares digests,
/// which nobody can steer towards one that is there: how long that takes tells nothing of a token.
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
         RETURNING t.id, t.tenant, m.name AS base_model, t.prefix",
        &secret_sha256[..],
    )
    .fetch_optional(&database.pool)
    .await
}

/// Deletes the addresses of a base model.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn delete_of(
    connection: &mut PgConnection,
    id: BaseModelId,
) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM inbound_tokens WHERE base_model = $1", id.0)
        .execute(connection)
        .await?;
    Ok(())
}
