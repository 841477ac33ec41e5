//! How a transfer came to where it is: its place in the queue, and its time by phase.

use crate::{
    contract::ids::{TenantId, TransferId},
    service::database::Database,
};

/// How many of the tenant's own transfers a worker takes before this one, which waits. Other tenants have turns
/// between them.
///
/// # Errors
/// From the database.
pub async fn ahead(
    database: &Database,
    tenant: TenantId,
    id: TransferId,
) -> Result<i64, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM transfers other JOIN transfers this ON this.id = $2
           WHERE other.tenant = $1 AND other.status = 'queued' AND NOT other.held
             AND (other.available_at, other.id) < (this.available_at, this.id)"#,
        tenant.0,
        id.0,
    )
    .fetch_one(&mut *scope)
    .await
}

/// The time of one phase within the last attempt.
#[derive(Clone, Debug)]
pub struct PhaseTime {
    pub phase: String,
    pub seconds: f64,
}

/// Time by phase within the last attempt, as its events tell; a phase that was entered again adds up.
///
/// # Errors
/// From the database.
pub async fn phases(
    database: &Database,
    tenant: TenantId,
    id: TransferId,
) -> Result<Vec<PhaseTime>, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    sqlx::query_as!(
        PhaseTime,
        r#"SELECT phase AS "phase!", sum(seconds)::float8 AS "seconds!"
           FROM (SELECT kind, data ->> 'phase' AS phase,
                        extract(epoch FROM lead(created_at, 1, now()) OVER (ORDER BY seq) - created_at) AS seconds
                 FROM events
                 WHERE tenant = $1 AND transfer = $2
                   AND seq >= (SELECT max(s.seq) FROM events s
                               WHERE s.tenant = $1 AND s.transfer = $2 AND s.kind = 'transfer.started')) AS spans
           WHERE kind = 'transfer.phase_changed' AND phase IS NOT NULL
           GROUP BY phase"#,
        tenant.0,
        id.0,
    )
    .fetch_all(&mut *scope)
    .await
}
