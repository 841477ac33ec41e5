//! Aliases of fine-tunes move: promotion and rollback, each one transaction with its line of history.

use serde_json::json;
use sqlx::PgConnection;

use crate::{
    contract::{
        events::{AuditAction, EventKind},
        ids::{FineTuneId, TenantId},
    },
    service::{
        database::{
            Database, audit_events, events,
            fine_tunes::{
                aliases::{
                    self,
                    moves::{self, NewMove},
                    protection,
                },
                locked,
                versions::{self, Standing},
            },
        },
        domain::{
            access::{Caller, Principal, Role},
            registry::{
                PRODUCTION,
                fine_tunes::{Direction, FineTuneAlias, Mode, VersionState},
                occasions::Target,
            },
        },
    },
};

#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("there is no such fine-tune or version")]
    Unknown,
    #[error("the alias {0} is protected: only a key of the role admin moves it")]
    Protected(String),
    #[error("the version failed its gate")]
    Rejected,
    #[error("the alias does not stand on this version")]
    NotCurrent,
    #[error("the alias has stood nowhere before")]
    NothingBefore,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// An alias of a version of a fine-tune, by name.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Name of the fine-tune.
    pub fine_tune: &'a str,
    /// Number of the version.
    pub version: i32,
    pub alias: &'a str,
}

/// Where an alias of a fine-tune is to move. The caller's transaction holds the fine-tune's lock.
pub(super) struct Step<'a> {
    pub tenant: TenantId,
    pub fine_tune: FineTuneId,
    /// Name of the fine-tune.
    pub name: &'a str,
    pub alias: &'a str,
    pub to: Standing,
}

impl Step<'_> {
    /// In the audit log: the version and what moves to it, or from it.
    fn subject(&self, number: i32) -> String {
        format!(
            "fine_tunes/{}/versions/{number}/aliases/{}",
            self.name, self.alias
        )
    }
}

/// Moves the alias forward as the policy wants it; to where it stands already changes nothing. One that is
/// protected stays, and an event says that the version waits for an administrator.
///
/// # Errors
/// From the database.
pub(super) async fn by_policy(
    connection: &mut PgConnection,
    step: &Step<'_>,
) -> Result<(), sqlx::Error> {
    if protection::holds(connection, step.fine_tune, step.alias).await? {
        return wait(connection, step).await;
    }
    if take(connection, step, Direction::Promoted).await? {
        // The service itself is a caller without a key.
        let (caller, subject) = (Caller::from(step.tenant), step.subject(step.to.number));
        let action = AuditAction::FineTunePromote;
        audit_events::record(connection, caller, action, &subject).await?;
    }
    Ok(())
}

/// Tells that somebody has to move the alias, unless it stands there already.
async fn wait(connection: &mut PgConnection, step: &Step<'_>) -> Result<(), sqlx::Error> {
    let standing = aliases::standing(connection, step.fine_tune, step.alias).await?;
    if standing
        .as_ref()
        .is_some_and(|standing| standing.id == step.to.id)
    {
        return Ok(());
    }

    let data = json!({
        "fine_tune": step.name, "alias": step.alias, "version": step.to.number,
        "reason": "alias_protected", "previous": standing.map(|standing| standing.number),
    });
    let subject = format!("fine_tunes/{}/versions/{}", step.name, step.to.number);
    let kind = EventKind::FineTuneVersionAwaitingPromotion;
    events::record(connection, step.tenant, &subject, kind, data).await?;

    Ok(())
}

/// Refuses whoever is no administrator an alias that is protected. The transaction holds the fine-tune's lock.
async fn check_protection(
    connection: &mut PgConnection,
    caller: Principal,
    fine_tune: FineTuneId,
    alias: &str,
) -> Result<(), MoveError> {
    let may_move = caller.role >= Role::Admin;
    if !may_move && protection::holds(connection, fine_tune, alias).await? {
        return Err(MoveError::Protected(alias.to_owned()));
    }
    Ok(())
}

/// False where the alias stands there already.
async fn take(
    connection: &mut PgConnection,
    step: &Step<'_>,
    direction: Direction,
) -> Result<bool, sqlx::Error> {
    let before = aliases::standing(connection, step.fine_tune, step.alias).await?;
    if before
        .as_ref()
        .is_some_and(|before| before.id == step.to.id)
    {
        return Ok(false);
    }

    let Step {
        tenant,
        fine_tune,
        alias,
        ..
    } = *step;
    aliases::set(connection, tenant, fine_tune, alias, step.to.id).await?;
    let noted = NewMove {
        tenant,
        fine_tune,
        alias,
        direction,
        version: step.to.id,
        previous: before.as_ref().map(|before| before.id),
    };

    moves::insert(connection, &noted).await?;
    // Readers of the fine-tune see where its aliases stand.
    locked::count_change(connection, fine_tune).await?;

    let kind = match direction {
        Direction::Promoted => EventKind::FineTuneVersionPromoted,
        Direction::RolledBack => EventKind::FineTuneVersionRolledBack,
    };

    let data = json!({
        "fine_tune": step.name, "alias": alias, "version": step.to.number,
        "previous": before.map(|before| before.number),
    });

    let subject = format!("fine_tunes/{}/versions/{}", step.name, step.to.number);
    events::record(connection, tenant, &subject, kind, data).await?;

    Ok(true)
}

/// Moves an alias of a tenant's fine-tune onto a version by hand. A proposed version is published by
/// it.
///
/// # Errors
/// See [`MoveError`].
pub async fn by_hand(
    database: &Database,
    caller: Principal,
    wanted: Wanted<'_>,
) -> Result<FineTuneAlias, MoveError> {
    let tenant = caller.tenant;
    let Wanted {
        fine_tune,
        version: number,
        alias,
    } = wanted;

    let mut scope = database.scope(tenant).await?;
    let locked = versions::lock_fine_tune(&mut scope, tenant, fine_tune, number)
        .await?
        .ok_or(MoveError::Unknown)?;
    check_protection(&mut scope, caller, locked.fine_tune, alias).await?;
    if locked.state == VersionState::Rejected {
        return Err(MoveError::Rejected);
    }

    versions::publish_proposed(&mut scope, locked.version).await?;
    let to = Standing {
        id: locked.version,
        number,
    };
    let step = Step {
        tenant,
        fine_tune: locked.fine_tune,
        name: fine_tune,
        alias,
        to,
    };
    take(&mut scope, &step, Direction::Promoted).await?;

    let shown = aliases::show(&mut scope, locked.fine_tune, alias).await?;
    let subject = step.subject(number);
    let action = AuditAction::FineTunePromote;
    audit_events::record(&mut scope, caller.into(), action, &subject).await?;
    scope.commit().await?;

    shown.ok_or(MoveError::Unknown)
}

/// Moves an alias back from a version to where it stood before it was promoted to that.
///
/// # Errors
/// See [`MoveError`].
pub async fn roll_back(
    database: &Database,
    caller: Principal,
    wanted: Wanted<'_>,
) -> Result<FineTuneAlias, MoveError> {
    let tenant = caller.tenant;
    let Wanted {
        fine_tune,
        version: number,
        alias,
    } = wanted;

    let mut scope = database.scope(tenant).await?;
    let locked = versions::lock_fine_tune(&mut scope, tenant, fine_tune, number)
        .await?
        .ok_or(MoveError::Unknown)?;
    check_protection(&mut scope, caller, locked.fine_tune, alias).await?;
    if locked.state == VersionState::Rejected {
        return Err(MoveError::Rejected);
    }

    let standing = aliases::standing(&mut scope, locked.fine_tune, alias).await?;
    if standing.is_none_or(|standing| standing.id != locked.version) {
        return Err(MoveError::NotCurrent);
    }

    let to = moves::before_promotion(&mut scope, locked.fine_tune, alias, locked.version)
        .await?
        .ok_or(MoveError::NothingBefore)?;
    let step = Step {
        tenant,
        fine_tune: locked.fine_tune,
        name: fine_tune,
        alias,
        to,
    };
    take(&mut scope, &step, Direction::RolledBack).await?;

    let shown = aliases::show(&mut scope, locked.fine_tune, alias).await?;
    let subject = step.subject(number);
    let action = AuditAction::FineTuneRollback;
    audit_events::record(&mut scope, caller.into(), action, &subject).await?;
    scope.commit().await?;

    shown.ok_or(MoveError::Unknown)
}

/// Moves `production` of these fine-tunes to the published results that they have on the target,
/// where their policy is to promote: an alias that they follow has moved there. For these, only the
/// version that a followed alias stands on matters, compared by digest.
///
/// # Errors
/// From the database.
pub(super) async fn follow_alias(
    connection: &mut PgConnection,
    tenant: TenantId,
    target: &Target,
    fine_tunes: &[FineTuneId],
) -> Result<(), sqlx::Error> {
    // Locked before results are looked for: one that arrives at this moment either is seen here, or
    // sees the alias where it stands after this.
    let followers = locked::lock_all(connection, fine_tunes).await?;

    for follower in followers
        .iter()
        .filter(|one| one.policy_mode == Mode::Promote)
    {
        let there = versions::published_on(connection, follower, target).await?;
        let Some(to) = there else { continue };
        let step = Step {
            tenant,
            fine_tune: follower.id,
            name: &follower.name,
            alias: PRODUCTION,
            to,
        };
        by_policy(connection, &step).await?;
    }

    Ok(())
}
