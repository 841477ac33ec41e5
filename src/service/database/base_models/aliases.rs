//! Aliases of base models: they move, their history stays, and who follows one is carried over.

pub mod moves;

use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{lock, versions};
use crate::{
    contract::{
        events::{AuditAction, EventKind},
        ids::TenantId,
    },
    service::{
        database::{
            Database, audit_events, events,
            fine_tunes::dependents::{self, Dependents},
            retunes::begin::{self, Occasion, Target},
        },
        domain::{
            access::Caller,
            registry::{
                base_models::BaseAlias,
                fine_tunes::On,
                retunes::{Automatic, Reason},
            },
        },
    },
};

#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("there is no such base model")]
    UnknownModel,
    #[error("the base model has no version {0}")]
    UnknownVersion(String),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// `SELECT` of [`BaseAlias`]es with the given ending.
macro_rules! select {
    ($ending:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            BaseAlias,
            "SELECT m.name AS base_model, a.alias, v.version, v.uri, v.digest, a.moved_at
             FROM base_model_aliases a
             JOIN base_models m ON m.id = a.base_model
             JOIN base_model_versions v ON v.id = a.version " + $ending
            $(, $argument)*
        )
    };
}

/// Moves an alias, or makes it; to where it stands already changes nothing.
///
/// # Errors
/// See [`MoveError`].
pub async fn put(
    database: &Database,
    (caller, model): (impl Into<Caller>, &str),
    alias: &str,
    version: &str,
    how: Automatic,
) -> Result<BaseAlias, MoveError> {
    let caller = caller.into();
    let tenant = caller.tenant;
    let mut transaction = database.scope(tenant).await?;
    let base_model = lock(&mut transaction, tenant, model).await?.ok_or(MoveError::UnknownModel)?;
    let target = versions::find(&mut transaction, base_model, version)
        .await?
        .ok_or_else(|| MoveError::UnknownVersion(version.to_owned()))?;
    let target = Target::of(base_model, target);
    if let Some(previous) = step(&mut transaction, tenant, alias, &target).await? {
        let subject = format!("base_models/{model}/aliases/{alias}");
        let data = json!({
            "base_model": model, "alias": alias, "version": version, "previous": previous.0,
            "uri": target.uri,
        });
        events::record(&mut transaction, tenant, &subject, EventKind::BaseModelAliasMoved, data)
            .await?;
        let wanted = Dependents {
            base_model: Some(base_model),
            on: Some(On::AliasMoved),
            alias: Some(alias.to_owned()),
            ..Dependents::of(tenant)
        };
        let followers = dependents::find(&mut transaction, &wanted).await?;
        let occasion = Occasion {
            tenant,
            reason: Reason::AliasMoved,
            limits: how.limits,
            max_attempts: how.max_attempts,
        };
        begin::onto_version(&mut transaction, &occasion, &target, &followers).await?;
    }
    let shown = select!("WHERE a.base_model = $1 AND a.alias = $2", base_model.0, alias)
        .fetch_one(&mut *transaction)
        .await?;
    audit_events::record(
        &mut transaction,
        caller,
        AuditAction::BaseModelAlias,
        &format!("base_models/{model}/aliases/{alias}"),
    )
    .await?;
    transaction.commit().await?;
    Ok(shown)
}

/// The version where an alias stood before a move, if anywhere.
struct Previous(Option<String>);

/// Moves the row and notes it in the history; `None` where it stands there already.
async fn step(
    connection: &mut PgConnection,
    tenant: TenantId,
    alias: &str,
    target: &Target,
) -> Result<Option<Previous>, sqlx::Error> {
    let before = sqlx::query!(
        "SELECT v.id, v.version FROM base_model_aliases a JOIN base_model_versions v ON v.id = a.version
         WHERE a.base_model = $1 AND a.alias = $2",
        target.base_model.0,
        alias,
    )
    .fetch_optional(&mut *connection)
    .await?;
    if before.as_ref().is_some_and(|before| before.id == target.id.0) {
        return Ok(None);
    }
    sqlx::query!(
        "INSERT INTO base_model_aliases (base_model, alias, tenant, version) VALUES ($1, $2, $3, $4)
         ON CONFLICT (base_model, alias) DO UPDATE SET version = $4, moved_at = now()",
        target.base_model.0,
        alias,
        tenant.0,
        target.id.0,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "INSERT INTO base_model_alias_moves (id, tenant, base_model, alias, version, previous)
         VALUES ($1, $2, $3, $4, $5, $6)",
        Uuid::now_v7(),
        tenant.0,
        target.base_model.0,
        alias,
        target.id.0,
        before.as_ref().map(|before| before.id),
    )
    .execute(connection)
    .await?;
    Ok(Some(Previous(before.map(|before| before.version))))
}

/// Where an alias of a tenant's base model stands.
///
/// # Errors
/// From the database.
pub async fn get(
    database: &Database,
    tenant: TenantId,
    model: &str,
    alias: &str,
) -> Result<Option<BaseAlias>, sqlx::Error> {
    select!("WHERE m.tenant = $1 AND m.name = $2 AND a.alias = $3", tenant.0, model, alias)
        .fetch_optional(&mut *database.scope(tenant).await?)
        .await
}
