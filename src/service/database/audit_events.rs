//! Who did what: written in the transaction of the change, read by administrators.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Database;
use crate::{
    contract::{
        events::AuditAction,
        ids::{AuditEventId, KeyId, TenantId},
    },
    service::domain::access::{AuditEvent, AuditOutcome, Caller, RecordedAction},
};

/// Records what a caller does, in the transaction that does it. `subject` is what it is done to, as the
/// API names it below `/v1`.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn record(
    connection: &mut PgConnection,
    caller: Caller,
    action: AuditAction,
    subject: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO audit_events (tenant, key, action, subject, outcome)
         VALUES ($1, $2, $3, $4, 'done')",
        caller.tenant.0,
        caller.key.map(Uuid::from),
        action.name(),
        subject,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Records that a caller was refused, with the problem's code.
///
/// # Errors
/// From the database.
pub async fn record_refusal(
    database: &Database,
    caller: Caller,
    action: &str,
    subject: &str,
    code: &str,
) -> Result<(), sqlx::Error> {
    let mut scope = database.scope(caller.tenant).await?;
    sqlx::query!(
        "INSERT INTO audit_events (tenant, key, action, subject, outcome, code)
         VALUES ($1, $2, $3, $4, 'refused', $5)",
        caller.tenant.0,
        caller.key.map(Uuid::from),
        action,
        subject,
        code,
    )
    .execute(&mut *scope)
    .await?;

    scope.commit().await
}

/// Which entries to list; everything given must hold.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    pub key: Option<KeyId>,
    pub action: Option<String>,
    pub subject: Option<String>,
    pub outcome: Option<AuditOutcome>,
    /// The last entry of the page before.
    pub after: Option<AuditEventId>,
    pub limit: i64,
}

/// What was done in a tenant's name, newest first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    filter: &ListFilter,
) -> Result<Vec<AuditEvent>, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    let rows = sqlx::query!(
        r#"SELECT id, key, action, subject, outcome AS "outcome: AuditOutcome", code, created_at
           FROM audit_events
           WHERE tenant = $1
             AND ($2::uuid IS NULL OR key = $2)
             AND ($3::text IS NULL OR action = $3)
             AND ($4::text IS NULL OR subject = $4)
             AND ($5::audit_outcome IS NULL OR outcome = $5)
             AND ($6::uuid IS NULL OR id < $6)
           ORDER BY id DESC LIMIT $7"#,
        tenant.0,
        filter.key.map(Uuid::from),
        filter.action.as_deref(),
        filter.subject.as_deref(),
        filter.outcome as Option<AuditOutcome>,
        filter.after.map(Uuid::from),
        filter.limit,
    )
    .fetch_all(&mut *scope)
    .await?;

    let events = rows.into_iter().map(|row| AuditEvent {
        id: row.id.into(),
        key: row.key.map(KeyId),
        action: RecordedAction::of(row.outcome, row.action),
        subject: row.subject,
        outcome: row.outcome,
        code: row.code,
        created_at: row.created_at,
    });

    Ok(events.collect())
}

/// Deletes entries that were written so many days ago; how many.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn prune(database: &Database, days: i32) -> Result<u64, sqlx::Error> {
    let pruned = sqlx::query!(
        "DELETE FROM audit_events WHERE created_at < now() - make_interval(days => $1)",
        days
    )
    .execute(&database.pool)
    .await?;

    Ok(pruned.rows_affected())
}
