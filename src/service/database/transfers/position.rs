//! What stands before a transfer in the queue.

use crate::{
    contract::ids::{TenantId, TransferId},
    service::{
        database::Database,
        domain::transfers::{Position, Status},
    },
};

/// Where a tenant's transfer stands, if it has one with this id.
///
/// # Errors
/// From the database.
pub async fn get(
    database: &Database,
    tenant: TenantId,
    id: TransferId,
) -> Result<Option<Position>, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    sqlx::query_as!(
        Position,
        r#"SELECT t.status AS "status: Status", t.held,
                  CASE WHEN t.status = 'queued' THEN (
                      SELECT count(*) FROM transfers o
                      WHERE o.tenant = t.tenant AND o.status = 'queued' AND NOT o.held
                        AND (o.available_at, o.id) < (t.available_at, t.id))
                  END AS ahead,
                  CASE WHEN t.status = 'queued' AND t.available_at > now() THEN t.available_at
                  END AS not_before,
                  (SELECT count(*) FROM transfers o
                   WHERE o.tenant = t.tenant AND o.status IN ('running', 'cancelling')) AS "at_work!",
                  (SELECT count(*) FROM workers w
                   WHERE w.last_seen_at >= now() - interval '1 minute') AS "workers!"
           FROM transfers t WHERE t.tenant = $1 AND t.id = $2"#,
        tenant.0,
        id.0,
    )
    .fetch_optional(&mut *scope)
    .await
}
