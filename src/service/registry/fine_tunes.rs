//! A fine-tune is registered, or changed; an alias of it is protected, or no longer.

use crate::{
    contract::events::AuditAction,
    service::{
        database::{
            Database, audit_events, base_models,
            fine_tunes::{self, Base, Content, aliases::protection, locked},
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

/// An alias of a fine-tune that only administrators are to move, or everyone who may submit.
#[derive(Clone, Copy, Debug)]
pub struct Protection<'a> {
    /// Name of the fine-tune.
    pub fine_tune: &'a str,
    pub alias: &'a str,
    pub protected: bool,
}

/// Protects an alias, or ends that; `None` where there is no such fine-tune. The alias need not stand anywhere yet.
///
/// # Errors
/// From the database.
pub async fn protect(
    database: &Database,
    caller: impl Into<Caller>,
    wanted: Protection<'_>,
) -> Result<Option<FineTune>, sqlx::Error> {
    let caller = caller.into();
    let Protection {
        fine_tune: name,
        alias,
        protected,
    } = wanted;

    let mut scope = database.scope(caller.tenant).await?;
    let Some(found) = fine_tunes::lock(&mut scope, caller.tenant, name).await? else {
        return Ok(None);
    };
    let (changed, action) = if protected {
        let begun = protection::begin(&mut scope, caller.tenant, found.id, alias).await?;
        (begun, AuditAction::FineTuneAliasProtect)
    } else {
        let ended = protection::end(&mut scope, found.id, alias).await?;
        (ended, AuditAction::FineTuneAliasUnprotect)
    };
    if changed {
        locked::count_change(&mut scope, found.id).await?;
    }

    let shown = fine_tunes::by_id(&mut scope, found.id).await?;
    let subject = format!("fine_tunes/{name}/aliases/{alias}");
    audit_events::record(&mut scope, caller, action, &subject).await?;
    scope.commit().await?;

    Ok(Some(shown))
}
