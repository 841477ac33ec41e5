//! A fine-tune is registered, or changed.

use crate::{
    contract::events::AuditAction,
    service::{
        database::{
            Database, audit_events, base_models,
            fine_tunes::{self, Base, Content},
        },
        domain::{access::Caller, registry::fine_tunes::FineTune},
    },
};

#[derive(Debug, thiserror::Error)]
pub enum PutError {
    #[error("there is no such base model or version")]
    UnknownBase,
    /// It is not, or is no longer, what the caller takes it for.
    #[error("the fine-tune has changed meanwhile")]
    Changed,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Registers a fine-tune or changes it; true where it is new. `holds` says whether what is there
/// (nothing, or a fine-tune) is what the caller expects.
///
/// # Errors
/// See [`PutError`].
pub async fn put(
    database: &Database,
    caller: impl Into<Caller>,
    name: &str,
    content: &Content,
    holds: impl Fn(Option<&FineTune>) -> bool,
) -> Result<(FineTune, bool), PutError> {
    let caller = caller.into();
    let tenant = caller.tenant;
    let mut scope = database.scope(tenant).await?;
    let model = base_models::lock(&mut scope, tenant, &content.base_model)
        .await?
        .ok_or(PutError::UnknownBase)?;
    let version = base_models::versions::find(&mut scope, model, &content.base_version)
        .await?
        .ok_or(PutError::UnknownBase)?
        .id;

    let base = Base { model, version };
    let mut there = fine_tunes::lock(&mut scope, tenant, name).await?;
    let mut created = false;
    if there.is_none() && holds(None) {
        created = fine_tunes::insert(&mut scope, tenant, name, base, content).await?;
        // Another request may have come first.
        there = fine_tunes::lock(&mut scope, tenant, name).await?;
    }

    let Some(there) = there else {
        return Err(PutError::Changed);
    };
    if !created {
        if !holds(Some(&there)) {
            return Err(PutError::Changed);
        }
        fine_tunes::update(&mut scope, there.id, base, content).await?;
    }

    let shown = fine_tunes::by_id(&mut scope, there.id).await?;
    let subject = format!("fine_tunes/{name}");
    audit_events::record(&mut scope, caller, AuditAction::FineTunePut, &subject).await?;
    scope.commit().await?;

    Ok((shown, created))
}
