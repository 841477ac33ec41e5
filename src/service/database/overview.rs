//! Whether a tenant's part of the service is well, in a few counts.

use serde::Serialize;
use utoipa::ToSchema;

use super::Database;
use crate::contract::ids::TenantId;

/// How a tenant's queue, results and receivers are at this moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Overview {
    /// Transfers that wait for a worker.
    pub queued: i64,
    /// Transfers that wait for their retune: it is paused, or as many are at work as it may have.
    pub held: i64,
    pub running: i64,
    /// For how long the transfer that a worker could take first has been waiting for one.
    pub oldest_queued_seconds: f64,
    /// Worker processes seen in the last minutes, all tenants' work included.
    pub workers: i64,
    /// Ended within the last 24 hours, by verdict or status.
    pub published_today: i64,
    pub rejected_today: i64,
    pub failed_today: i64,
    /// Versions of fine-tunes that wait for somebody to promote them.
    pub proposed: i64,
    /// Fine-tunes whose `production` stands on another version than the one that they follow.
    pub stale: i64,
    /// Webhook endpoints that fail, or that the service disabled for failing.
    pub failing_endpoints: i64,
    /// Announced versions of base models that could not be registered within the last 24 hours.
    pub failed_arrivals: i64,
    /// Versions of base models that retire within 30 days and have fine-tunes in production on them.
    pub retiring: i64,
}

/// Looks at everything at once.
///
/// # Errors
/// From the database.
pub async fn look(database: &Database, tenant: TenantId) -> Result<Overview, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    sqlx::query_as!(
        Overview,
        r#"SELECT q.queued AS "queued!", q.held AS "held!", q.running AS "running!",
                  q.oldest AS "oldest_queued_seconds!",
                  (SELECT count(*) FROM workers WHERE last_seen_at >= now() - interval '5 minutes') AS "workers!",
                  d.published AS "published_today!", d.rejected AS "rejected_today!", d.failed AS "failed_today!",
                  (SELECT count(*) FROM fine_tune_versions WHERE tenant = $1 AND state = 'proposed') AS "proposed!",
                  (SELECT count(*) FROM fine_tunes f
                   JOIN fine_tune_aliases a ON a.fine_tune = f.id AND a.alias = 'production'
                   JOIN fine_tune_versions p ON p.id = a.version
                   JOIN base_model_versions b ON b.id = p.base_version
                   WHERE f.tenant = $1 AND b.digest IS DISTINCT FROM
                       (SELECT v.digest FROM base_model_versions v WHERE v.id = coalesce(
                           (SELECT s.version FROM base_model_aliases s
                            WHERE s.base_model = f.base_model AND s.alias = f.policy_alias),
                           (SELECT n.id FROM base_model_versions n WHERE n.base_model = f.base_model
                            ORDER BY n.id DESC LIMIT 1)))) AS "stale!",
                  (SELECT count(*) FROM webhook_endpoints
                   WHERE tenant = $1 AND (failing_since IS NOT NULL OR disabled_reason IS NOT NULL)
                  ) AS "failing_endpoints!",
                  (SELECT count(*) FROM arrivals
                   WHERE tenant = $1 AND status = 'failed' AND finished_at > now() - interval '24 hours'
                  ) AS "failed_arrivals!",
                  (SELECT count(DISTINCT b.id) FROM fine_tune_aliases a
                   JOIN fine_tune_versions p ON p.id = a.version
                   JOIN base_model_versions b ON b.id = p.base_version
                   WHERE a.tenant = $1 AND a.alias = 'production' AND b.retires_at < now() + interval '30 days'
                  ) AS "retiring!"
           FROM (SELECT count(*) FILTER (WHERE status = 'queued' AND NOT held) AS queued,
                        count(*) FILTER (WHERE status = 'queued' AND held) AS held,
                        count(*) FILTER (WHERE status <> 'queued') AS running,
                        coalesce(greatest(0, extract(epoch FROM now() - min(available_at)
                            FILTER (WHERE status = 'queued' AND NOT held))), 0)::float8 AS oldest
                 FROM transfers
                 WHERE tenant = $1 AND status IN ('queued', 'running', 'cancelling')) AS q,
                (SELECT count(*) FILTER (WHERE verdict = 'published') AS published,
                        count(*) FILTER (WHERE verdict = 'rejected') AS rejected,
                        count(*) FILTER (WHERE status = 'failed') AS failed
                 FROM transfers
                 WHERE tenant = $1 AND finished_at > now() - interval '24 hours') AS d"#,
        tenant.0,
    )
    .fetch_one(&mut *scope)
    .await
}
