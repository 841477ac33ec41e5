//! How much a tenant may have waiting, and computed and written within a day.

use sqlx::PgConnection;

use crate::{config, contract::ids::TenantId};

/// Which quota a submission would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaExceeded {
    #[error("{0} transfers wait already, as many as this tenant may have; wait for some to begin")]
    Queued(i64),
    #[error("this tenant's {0} seconds of computing within 24 hours are used up")]
    ComputeSeconds(i64),
    #[error("this tenant's {0} bytes of results within 24 hours are written")]
    ResultBytes(i64),
}

/// Checks, in the transaction of a submission and after its insert, what the tenant has and uses.
/// Where there is a limit, submissions of one tenant wait for each other from here on.
pub(in crate::service) async fn check(
    connection: &mut PgConnection,
    tenant: TenantId,
    defaults: &config::Quotas,
) -> Result<Option<QuotaExceeded>, sqlx::Error> {
    let limits = sqlx::query!(
        r#"SELECT coalesce(max_queued_transfers, nullif($2, 0::bigint)) AS queued,
                  coalesce(max_compute_seconds_per_day, nullif($3, 0::bigint)) AS compute_seconds,
                  coalesce(max_result_bytes_per_day, nullif($4, 0::bigint)) AS result_bytes
           FROM tenants
           WHERE id = $1
             AND coalesce(max_queued_transfers, nullif($2, 0::bigint), max_compute_seconds_per_day,
                          nullif($3, 0::bigint), max_result_bytes_per_day, nullif($4, 0::bigint))
                 IS NOT NULL
           FOR NO KEY UPDATE"#,
        tenant.0,
        i64::from(defaults.queued_transfers),
        i64::from(defaults.compute_seconds_per_day),
        i64::try_from(defaults.result_bytes_per_day).unwrap_or(i64::MAX),
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(limits) = limits else {
        return Ok(None);
    };
    if let Some(limit) = limits.queued
        && queued(connection, tenant).await? > limit
    {
        return Ok(Some(QuotaExceeded::Queued(limit)));
    }
    if let Some(limit) = limits.compute_seconds
        && compute_seconds(connection, tenant).await? >= limit as f64
    {
        return Ok(Some(QuotaExceeded::ComputeSeconds(limit)));
    }
    if let Some(limit) = limits.result_bytes
        && result_bytes(connection, tenant).await? >= limit
    {
        return Ok(Some(QuotaExceeded::ResultBytes(limit)));
    }

    Ok(None)
}

async fn queued(connection: &mut PgConnection, tenant: TenantId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM transfers WHERE tenant = $1 AND status = 'queued'"#,
        tenant.0,
    )
    .fetch_one(connection)
    .await
}

/// Seconds of the last 24 hours in which workers had the tenant's transfers, in every attempt.
async fn compute_seconds(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> Result<f64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH computed AS (
               SELECT began_at, ended_at FROM attempts
               WHERE tenant = $1 AND ended_at > now() - interval '24 hours'
               UNION ALL
               SELECT started_at, greatest(started_at, least(now(), lease_expires_at)) FROM transfers
               WHERE tenant = $1 AND status IN ('running', 'cancelling')
           )
           SELECT coalesce(sum(extract(epoch FROM
                      ended_at - greatest(began_at, now() - interval '24 hours'))),
                  0)::double precision AS "seconds!"
           FROM computed WHERE ended_at > now() - interval '24 hours'"#,
        tenant.0,
    )
    .fetch_one(connection)
    .await
}

/// Bytes of the results of the last 24 hours.
async fn result_bytes(connection: &mut PgConnection, tenant: TenantId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT least(coalesce(sum(result_bytes), 0), 9223372036854775807)::bigint AS "bytes!"
           FROM transfers WHERE tenant = $1 AND finished_at > now() - interval '24 hours'"#,
        tenant.0,
    )
    .fetch_one(connection)
    .await
}
