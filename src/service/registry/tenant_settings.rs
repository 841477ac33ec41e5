//! Tenants get quotas of their own, and new secrets for the callbacks of their jobs.

use time::OffsetDateTime;

use super::endpoints::SecretError;
use crate::{
    contract::events::AuditAction,
    service::{
        database::{
            Database, audit_events,
            tenants::{self, NewQuotas},
        },
        domain::{
            access::{Caller, Tenant},
            events::Secret,
        },
    },
};

/// Gives a tenant quotas of its own; `None` where there is no such tenant.
///
/// # Errors
/// From the database.
pub async fn set_quotas(
    database: &Database,
    name: &str,
    quotas: NewQuotas,
) -> Result<Option<Tenant>, sqlx::Error> {
    let Some(id) = tenants::named(database, name).await? else {
        return Ok(None);
    };

    let mut scope = database.scope(id).await?;
    let tenant = tenants::set_quotas(&mut scope, id, quotas).await?;
    let (caller, subject) = (Caller::from(id), format!("tenants/{name}"));
    audit_events::record(&mut scope, caller, AuditAction::TenantQuotas, &subject).await?;
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
    let until = tenants::rotate_callback_secret(&mut scope, caller.tenant, &secret).await?;

    let (action, subject) = (AuditAction::CallbackSecretRotate, "callback_secret");
    audit_events::record(&mut scope, caller, action, subject).await?;
    scope.commit().await?;

    Ok((secret, until))
}
