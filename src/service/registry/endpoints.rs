//! Endpoints of webhooks are registered, changed and removed, and get new secrets.

use crate::{
    contract::events::AuditAction,
    service::{
        database::{
            Database, audit_events, deliveries, tenants,
            webhook_endpoints::{self, Wanted},
        },
        domain::{
            access::Caller,
            events::{Endpoint, Secret},
        },
    },
};

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the operating system gives no randomness: {0}")]
    Randomness(#[from] std::io::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum PutError {
    #[error(
        "this tenant has {0} endpoints, as many as it may (webhooks.endpoints_per_tenant); delete one first"
    )]
    Full(u32),
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl From<sqlx::Error> for PutError {
    fn from(error: sqlx::Error) -> Self {
        Self::Secret(error.into())
    }
}

/// Makes an endpoint or changes it; the secret where it was made, shown this once. A change is a new
/// beginning: earlier failures are forgotten. Where it disables, what waits ends. A tenant has at most `limit`
/// endpoints; 0: any number.
///
/// # Errors
/// See [`PutError`].
pub async fn put(
    database: &Database,
    caller: impl Into<Caller>,
    name: &str,
    wanted: &Wanted,
    limit: u32,
) -> Result<(Endpoint, Option<Secret>), PutError> {
    let caller = caller.into();
    let secret = Secret::draw().map_err(SecretError::from)?;
    let mut scope = database.scope(caller.tenant).await?;
    let (endpoint, created) =
        webhook_endpoints::put(&mut scope, caller.tenant, name, wanted, &secret).await?;
    if created && limit > 0 {
        // Requests that add endpoints wait for each other from here on.
        tenants::lock(&mut scope, caller.tenant).await?;
        let count = webhook_endpoints::count(&mut scope, caller.tenant).await?;
        if count > i64::from(limit) {
            return Err(PutError::Full(limit));
        }
    }

    deliveries::end_waiting(&mut scope, endpoint.id).await?;
    let (action, subject) = (AuditAction::WebhookEndpointPut, subject(name));
    audit_events::record(&mut scope, caller, action, &subject).await?;
    scope.commit().await?;

    Ok((endpoint, created.then_some(secret)))
}

/// Removes a tenant's endpoint with its deliveries; whether there was one.
///
/// # Errors
/// From the database.
pub async fn delete(
    database: &Database,
    caller: impl Into<Caller>,
    name: &str,
) -> Result<bool, sqlx::Error> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    if !webhook_endpoints::delete(&mut scope, caller.tenant, name).await? {
        return Ok(false);
    }

    let (action, subject) = (AuditAction::WebhookEndpointDelete, subject(name));
    audit_events::record(&mut scope, caller, action, &subject).await?;
    scope.commit().await?;

    Ok(true)
}

/// Draws a new secret, shown this once; the present one signs too for a day. `None` where the tenant
/// has no such endpoint.
///
/// # Errors
/// See [`SecretError`].
pub async fn rotate(
    database: &Database,
    caller: impl Into<Caller>,
    name: &str,
) -> Result<Option<(Endpoint, Secret)>, SecretError> {
    let caller = caller.into();
    let secret = Secret::draw()?;
    let mut scope = database.scope(caller.tenant).await?;
    let rotated = webhook_endpoints::rotate(&mut scope, caller.tenant, name, &secret).await?;
    let Some(endpoint) = rotated else {
        return Ok(None);
    };

    let (action, subject) = (AuditAction::WebhookEndpointRotate, subject(name));
    audit_events::record(&mut scope, caller, action, &subject).await?;
    scope.commit().await?;

    Ok(Some((endpoint, secret)))
}

fn subject(name: &str) -> String {
    format!("webhook_endpoints/{name}")
}
