//! Keys are made and withdrawn.

use time::OffsetDateTime;

use crate::{
    contract::{
        events::AuditAction,
        ids::{KeyId, TenantId},
    },
    service::{
        database::{
            Database,
            api_keys::{self, NewKey},
            audit_events,
        },
        domain::access::{ApiKey, Caller, Role, Secret},
    },
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
    let new = NewKey {
        name,
        role,
        expires_at,
    };
    let secret = Secret::draw()?;
    let mut scope = database.scope(caller.tenant).await?;
    let key = api_keys::insert(&mut scope, caller.tenant, &new, &secret)
        .await?
        .ok_or(CreateError::UnknownTenant(caller.tenant))?;

    let subject = format!("api_keys/{}", key.id);
    audit_events::record(&mut scope, caller, AuditAction::ApiKeyCreate, &subject).await?;
    scope.commit().await?;

    Ok((key, secret.reveal().to_owned()))
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
    if !api_keys::revoke(&mut scope, caller.tenant, id).await? {
        return Ok(false);
    }

    let subject = format!("api_keys/{id}");
    audit_events::record(&mut scope, caller, AuditAction::ApiKeyRevoke, &subject).await?;
    scope.commit().await?;

    Ok(true)
}
