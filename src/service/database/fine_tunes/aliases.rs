//! Aliases of fine-tunes: promotion and rollback, each one transaction with its line of history.

pub mod moves;

use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::versions;
use crate::{
    contract::{
        events::{AuditAction, EventKind},
        ids::{FineTuneId, FineTuneVersionId, TenantId},
    },
    service::{
        database::{Database, audit_events, events},
        domain::{
            access::Caller,
            registry::fine_tunes::{Direction, FineTuneAlias, VersionState},
        },
    },
};

#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("there is no such fine-tune or version")]
    Unknown,
    #[error("the version failed its gate")]
    Rejected,
    #[error("the alias does not stand on this version")]
    NotCurrent,
    #[error("the alias has stood nowhere before")]
    NothingBefore,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Where an alias of a fine-tune is to move. The caller's transaction holds the fine-tune's lock.
pub(super) struct Step<'a> {
    pub tenant: TenantId,
    /// Id and name.
    pub fine_tune: (FineTuneId, &'a str),
    pub alias: &'a str,
    /// Id and number of the version.
    pub to: (FineTuneVersionId, i32),
}

impl Step<'_> {
    /// In the audit log: the version and what moves to it, or from it.
    fn subject(&self, number: i32) -> String {
        format!("fine_tunes/{}/versions/{number}/aliases/{}", self.fine_tune.1, self.alias)
    }
}

/// Moves the alias forward as the policy wants it; to where it stands already changes nothing.
pub(super) async fn promote(
    connection: &mut PgConnection,
    step: &Step<'_>,
) -> Result<(), sqlx::Error> {
    if take(connection, step, Direction::Promoted).await? {
        // The service itself is a caller without a key.
        let (caller, subject) = (Caller::from(step.tenant), step.subject(step.to.1));
        audit_events::record(connection, caller, AuditAction::FineTunePromote, &subject).await?;
    }
    Ok(())
}

/// False where the alias stands there already.
async fn take(
    connection: &mut PgConnection,
    step: &Step<'_>,
    direction: Direction,
) -> Result<bool, sqlx::Error> {
    let (fine_tune, name) = step.fine_tune;
    let before = current(connection, fine_tune, step.alias).await?;
    if before.as_ref().is_some_and(|before| before.id == step.to.0) {
        return Ok(false);
    }
    sqlx::query!(
        "INSERT INTO fine_tune_aliases (fine_tune, alias, tenant, version) VALUES ($1, $2, $3, $4)
         ON CONFLICT (fine_tune, alias) DO UPDATE SET version = $4, moved_at = now()",
        fine_tune.0,
        step.alias,
        step.tenant.0,
        step.to.0.0,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "INSERT INTO fine_tune_alias_moves (id, tenant, fine_tune, alias, move, version, previous)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        Uuid::now_v7(),
        step.tenant.0,
        fine_tune.0,
        step.alias,
        direction as Direction,
        step.to.0.0,
        before.as_ref().map(|before| before.id).map(Uuid::from),
    )
    .execute(&mut *connection)
    .await?;
    // Readers of the fine-tune see where its aliases stand.
    sqlx::query!("UPDATE fine_tunes SET revision = revision + 1 WHERE id = $1", fine_tune.0)
        .execute(&mut *connection)
        .await?;
    let kind = match direction {
        Direction::Promoted => EventKind::FineTuneVersionPromoted,
        Direction::RolledBack => EventKind::FineTuneVersionRolledBack,
    };
    let data = json!({
        "fine_tune": name, "alias": step.alias, "version": step.to.1,
        "previous": before.map(|before| before.number),
    });
    let subject = format!("fine_tunes/{name}/versions/{}", step.to.1);
    events::record(connection, step.tenant, &subject, kind, data).await?;
    Ok(true)
}

struct Standing {
    id: FineTuneVersionId,
    number: i32,
}

async fn current(
    connection: &mut PgConnection,
    fine_tune: FineTuneId,
    alias: &str,
) -> Result<Option<Standing>, sqlx::Error> {
    sqlx::query_as!(
        Standing,
        "SELECT v.id, v.number FROM fine_tune_aliases a JOIN fine_tune_versions v ON v.id = a.version
         WHERE a.fine_tune = $1 AND a.alias = $2",
        fine_tune.0,
        alias,
    )
    .fetch_optional(connection)
    .await
}

/// Moves an alias of a tenant's fine-tune onto a version by hand. A proposed version is published by
/// it.
///
/// # Errors
/// See [`MoveError`].
pub async fn promote_by_hand(
    database: &Database,
    (caller, fine_tune): (impl Into<Caller>, &str),
    number: i32,
    alias: &str,
) -> Result<FineTuneAlias, MoveError> {
    let caller = caller.into();
    let tenant = caller.tenant;
    let mut transaction = database.scope(tenant).await?;
    let (id, version, state) = lock(&mut transaction, tenant, fine_tune, number).await?;
    if state == VersionState::Rejected {
        return Err(MoveError::Rejected);
    }
    sqlx::query!(
        "UPDATE fine_tune_versions SET state = 'published' WHERE id = $1 AND state = 'proposed'",
        version.0
    )
    .execute(&mut *transaction)
    .await?;
    let step = Step { tenant, fine_tune: (id, fine_tune), alias, to: (version, number) };
    take(&mut transaction, &step, Direction::Promoted).await?;
    let shown = show(&mut transaction, id, alias).await?;
    let subject = step.subject(number);
    audit_events::record(&mut transaction, caller, AuditAction::FineTunePromote, &subject).await?;
    transaction.commit().await?;
    shown.ok_or(MoveError::Unknown)
}

/// Moves an alias back from a version to where it stood before it was promoted to that.
///
/// # Errors
/// See [`MoveError`].
pub async fn roll_back(
    database: &Database,
    (caller, fine_tune): (impl Into<Caller>, &str),
    number: i32,
    alias: &str,
) -> Result<FineTuneAlias, MoveError> {
    let caller = caller.into();
    let tenant = caller.tenant;
    let mut transaction = database.scope(tenant).await?;
    let (id, version, state) = lock(&mut transaction, tenant, fine_tune, number).await?;
    if state == VersionState::Rejected {
        return Err(MoveError::Rejected);
    }
    let standing = current(&mut transaction, id, alias).await?;
    if standing.is_none_or(|standing| standing.id != version) {
        return Err(MoveError::NotCurrent);
    }
    let before = sqlx::query_as!(
        Standing,
        r#"SELECT v.id, v.number
           FROM (SELECT previous FROM fine_tune_alias_moves
                 WHERE fine_tune = $1 AND alias = $2 AND version = $3 AND move = 'promoted'
                 ORDER BY id DESC LIMIT 1) AS last
           JOIN fine_tune_versions v ON v.id = last.previous"#,
        id.0,
        alias,
        version.0,
    )
    .fetch_optional(&mut *transaction)
    .await?
    .ok_or(MoveError::NothingBefore)?;
    let to = (before.id, before.number);
    let step = Step { tenant, fine_tune: (id, fine_tune), alias, to };
    take(&mut transaction, &step, Direction::RolledBack).await?;
    let shown = show(&mut transaction, id, alias).await?;
    let subject = step.subject(number);
    audit_events::record(&mut transaction, caller, AuditAction::FineTuneRollback, &subject).await?;
    transaction.commit().await?;
    shown.ok_or(MoveError::Unknown)
}

/// Locks a tenant's fine-tune; its id, and id and state of its version.
async fn lock(
    connection: &mut PgConnection,
    tenant: TenantId,
    fine_tune: &str,
    number: i32,
) -> Result<(FineTuneId, FineTuneVersionId, VersionState), MoveError> {
    let row = sqlx::query!(
        r#"SELECT f.id, v.id AS version, v.state AS "state: VersionState"
           FROM fine_tunes f JOIN fine_tune_versions v ON v.fine_tune = f.id
           WHERE f.tenant = $1 AND f.name = $2 AND v.number = $3
           FOR NO KEY UPDATE OF f"#,
        tenant.0,
        fine_tune,
        number,
    )
    .fetch_optional(connection)
    .await?
    .ok_or(MoveError::Unknown)?;
    Ok((row.id.into(), row.version.into(), row.state))
}

/// Where an alias of a tenant's fine-tune stands.
///
/// # Errors
/// From the database.
pub async fn get(
    database: &Database,
    tenant: TenantId,
    fine_tune: &str,
    alias: &str,
) -> Result<Option<FineTuneAlias>, sqlx::Error> {
    let mut connection = database.scope(tenant).await?;
    let id = sqlx::query_scalar!(
        "SELECT id FROM fine_tunes WHERE tenant = $1 AND name = $2",
        tenant.0,
        fine_tune,
    )
    .fetch_optional(&mut *connection)
    .await?;
    match id {
        Some(id) => show(&mut connection, id.into(), alias).await,
        None => Ok(None),
    }
}

async fn show(
    connection: &mut PgConnection,
    fine_tune: FineTuneId,
    alias: &str,
) -> Result<Option<FineTuneAlias>, sqlx::Error> {
    struct Row {
        version: FineTuneVersionId,
        moved_at: OffsetDateTime,
    }
    let row = sqlx::query_as!(
        Row,
        "SELECT version, moved_at FROM fine_tune_aliases WHERE fine_tune = $1 AND alias = $2",
        fine_tune.0,
        alias,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let version = versions::by_id(connection, row.version).await?;
    Ok(Some(FineTuneAlias { alias: alias.to_owned(), moved_at: row.moved_at, version }))
}
