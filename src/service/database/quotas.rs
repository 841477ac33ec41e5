//! How much a tenant may have waiting, and computed within a day.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::config;

/// Which quota a submission would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaExceeded {
    #[error("{0} transfers wait already, as many as this tenant may have; wait for some to begin")]
    Queued(i64),
    #[error("this tenant's {0} seconds of computing within 24 hours are used up")]
    ComputeSeconds(i64),
}

/// Checks, in the transaction of a submission and after its insert, what the tenant has and uses.
/// Where there is a limit, submissions of one tenant wait for each other from here on.
pub(super) async fn check(
    connection: &mut PgConnection,
    tenant: Uuid,
    defaults: &config::Quotas,
) -> Result<Option<QuotaExceeded>, sqlx::Error> {
    let limits = sqlx::query!(
        r#"SELECT coalesce(max_queued_transfers, nullif($2, 0::bigint)) AS queued,
                  coalesce(max_compute_seconds_per_day, nullif($3, 0::bigint)) AS compute_seconds
           FROM tenants
           WHERE id = $1
             AND (coalesce(max_queued_transfers, nullif($2, 0::bigint)) IS NOT NULL
                  OR coalesce(max_compute_seconds_per_day, nullif($3, 0::bigint)) IS NOT NULL)
           FOR NO KEY UPDATE"#,
        tenant,
        i64::from(defaults.queued_transfers),
        i64::from(defaults.compute_seconds_per_day),
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(limits) = limits else { return Ok(None) };
    if let Some(limit) = limits.queued {
        let queued = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM transfers WHERE tenant = $1 AND status = 'queued'"#,
            tenant,
        )
        .fetch_one(&mut *connection)
        .await?;
        if queued > limit {
            return Ok(Some(QuotaExceeded::Queued(limit)));
        }
    }
    if let Some(limit) = limits.compute_seconds {
        let computed = compute_seconds(connection, tenant).await?;
        if computed >= limit as f64 {
            return Ok(Some(QuotaExceeded::ComputeSeconds(limit)));
        }
    }
    Ok(None)
}

/// Seconds of the last 24 hours in which workers had the tenant's transfers; of a transfer with
/// several attempts, the last one's.
async fn compute_seconds(connection: &mut PgConnection, tenant: Uuid) -> Result<f64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT coalesce(sum(extract(epoch FROM
                      coalesce(finished_at, now()) - greatest(started_at, now() - interval '24 hours'))),
                  0)::double precision AS "seconds!"
           FROM transfers
           WHERE tenant = $1 AND started_at IS NOT NULL
             AND (status IN ('running', 'cancelling') OR finished_at > now() - interval '24 hours')"#,
        tenant,
    )
    .fetch_one(connection)
    .await
}
