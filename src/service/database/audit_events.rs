//! Who did what: written in the transaction of the change, read by administrators.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Database;
use crate::service::access::{AuditEvent, AuditOutcome, Caller};

/// Records what a caller does, in the transaction that does it. `action` is `transfer.submit` and the
/// like, `subject` what it is done to, as the API names it below `/v1`.
///
/// # Errors
/// From the database.
pub(super) async fn record(
    connection: &mut PgConnection,
    caller: Caller,
    action: &str,
    subject: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO audit_events (tenant, key, action, subject, outcome)
         VALUES ($1, $2, $3, $4, 'done')",
        caller.tenant,
        caller.key,
        action,
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
        caller.tenant,
        caller.key,
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
    pub key: Option<Uuid>,
    pub action: Option<String>,
    pub subject: Option<String>,
    pub outcome: Option<AuditOutcome>,
    /// The last entry of the page before.
    pub after: Option<Uuid>,
    pub limit: i64,
}

/// What was done in a tenant's name, newest first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: Uuid,
    filter: &ListFilter,
) -> Result<Vec<AuditEvent>, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    sqlx::query_as!(
        AuditEvent,
        r#"SELECT id, key, action, subject, outcome AS "outcome: AuditOutcome", code, created_at
           FROM audit_events
           WHERE tenant = $1
             AND ($2::uuid IS NULL OR key = $2)
             AND ($3::text IS NULL OR action = $3)
             AND ($4::text IS NULL OR subject = $4)
             AND ($5::audit_outcome IS NULL OR outcome = $5)
             AND ($6::uuid IS NULL OR id < $6)
           ORDER BY id DESC LIMIT $7"#,
        tenant,
        filter.key,
        filter.action.as_deref(),
        filter.subject.as_deref(),
        filter.outcome as Option<AuditOutcome>,
        filter.after,
        filter.limit,
    )
    .fetch_all(&mut *scope)
    .await
}
