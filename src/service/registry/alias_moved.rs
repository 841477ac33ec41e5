//! An alias of a base model moves, and who follows it is carried over.

use serde_json::json;
use sqlx::PgConnection;

use super::begin;
use crate::{
    contract::{
        events::{AuditAction, EventKind},
        ids::TenantId,
    },
    service::{
        database::{
            Database, audit_events,
            base_models::{
                self,
                aliases::{
                    self,
                    moves::{self, NewMove},
                },
                versions,
            },
            events,
            fine_tunes::dependents::{self, Dependents},
        },
        domain::{
            access::Caller,
            registry::{
                base_models::BaseAlias,
                fine_tunes::On,
                occasions::{Occasion, Target},
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

/// Where an alias of a base model is to stand.
#[derive(Clone, Copy, Debug)]
pub struct Move<'a> {
    /// Name of the base model.
    pub base_model: &'a str,
    pub alias: &'a str,
    pub version: &'a str,
}

/// Moves an alias, or makes it; to where it stands already changes nothing.
///
/// # Errors
/// See [`MoveError`].
pub async fn move_alias(
    database: &Database,
    caller: impl Into<Caller>,
    wanted: Move<'_>,
    how: Automatic,
) -> Result<BaseAlias, MoveError> {
    let caller = caller.into();
    let tenant = caller.tenant;
    let Move {
        base_model: model,
        alias,
        version,
    } = wanted;

    let mut scope = database.scope(tenant).await?;
    let base_model = base_models::lock(&mut scope, tenant, model)
        .await?
        .ok_or(MoveError::UnknownModel)?;
    let target = versions::find(&mut scope, base_model, version)
        .await?
        .ok_or_else(|| MoveError::UnknownVersion(version.to_owned()))?;
    let target = Target::of(base_model, target);

    let subject = format!("base_models/{model}/aliases/{alias}");
    if let Some(previous) = step(&mut scope, tenant, alias, &target).await? {
        let data = json!({
            "base_model": model, "alias": alias, "version": version, "previous": previous.0,
            "uri": target.uri,
        });
        events::record(
            &mut scope,
            tenant,
            &subject,
            EventKind::BaseModelAliasMoved,
            data,
        )
        .await?;

        let followers = Dependents {
            base_model: Some(base_model),
            on: Some(On::AliasMoved),
            alias: Some(alias.to_owned()),
            ..Dependents::of(tenant)
        };
        let followers = dependents::find(&mut scope, &followers).await?;
        let occasion = Occasion::automatic(tenant, Reason::AliasMoved, how);
        begin::onto_version(&mut scope, &occasion, &target, &followers).await?;
    }

    let shown = aliases::find(&mut scope, base_model, alias).await?;
    audit_events::record(&mut scope, caller, AuditAction::BaseModelAlias, &subject).await?;
    scope.commit().await?;

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
    let before = aliases::standing(connection, target.base_model, alias).await?;
    if before.as_ref().is_some_and(|before| before.id == target.id) {
        return Ok(None);
    }

    aliases::set(connection, tenant, target.base_model, alias, target.id).await?;
    let noted = NewMove {
        tenant,
        base_model: target.base_model,
        alias,
        version: target.id,
        previous: before.as_ref().map(|before| before.id),
    };

    moves::insert(connection, &noted).await?;

    Ok(Some(Previous(before.map(|before| before.version))))
}
