//! Retunes: their rows, how they are looked at (here) and changed (`transitions`).

pub mod campaign;
mod transitions;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Database;
use crate::{
    contract::ids::{RetuneId, TenantId},
    service::domain::registry::retunes::{Counts, Limits, Reason, Retune, RetuneStatus},
};

pub(in crate::service) use transitions::{
    delete, forget_base_versions, insert, lock, lock_of, mark_running, of_request, pause,
    remember_request, resume, set_status,
};

/// Which retunes to list; everything given must hold.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    pub status: Option<RetuneStatus>,
    pub base_model: Option<String>,
    pub limit: i64,
    /// The last retune of the page before.
    pub after: Option<RetuneId>,
}

/// The columns of [`Retune`], flat.
struct Row {
    id: RetuneId,
    status: RetuneStatus,
    reason: Reason,
    base_model: Option<String>,
    base_version: Option<String>,
    max_concurrent: Option<i32>,
    max_compute_seconds: Option<i64>,
    created_at: OffsetDateTime,
    started_at: Option<OffsetDateTime>,
    finished_at: Option<OffsetDateTime>,
    queued: i64,
    running: i64,
    awaiting_evaluation: i64,
    cancelling: i64,
    succeeded: i64,
    failed: i64,
    cancelled: i64,
    compute_seconds: f64,
}

/// `SELECT` of [`Row`]s with the given ending, so that the columns are named once.
macro_rules! select {
    ($ending:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"SELECT r.id, r.status AS "status: RetuneStatus", r.reason AS "reason: Reason",
                      m.name AS "base_model?", v.version AS "base_version?",
                      r.max_concurrent, r.max_compute_seconds,
                      r.created_at, r.started_at, r.finished_at,
                      c.queued AS "queued!", c.running AS "running!",
                      c.awaiting_evaluation AS "awaiting_evaluation!",
                      c.cancelling AS "cancelling!", c.succeeded AS "succeeded!",
                      c.failed AS "failed!", c.cancelled AS "cancelled!",
                      c.compute_seconds AS "compute_seconds!"
               FROM retunes r
               LEFT JOIN base_models m ON m.id = r.base_model
               LEFT JOIN base_model_versions v ON v.id = r.base_version
               CROSS JOIN LATERAL (
                   SELECT count(*) FILTER (WHERE t.status = 'queued') AS queued,
                          count(*) FILTER (WHERE t.status = 'running') AS running,
                          count(*) FILTER (WHERE t.status = 'awaiting_evaluation')
                              AS awaiting_evaluation,
                          count(*) FILTER (WHERE t.status = 'cancelling') AS cancelling,
                          count(*) FILTER (WHERE t.status = 'succeeded') AS succeeded,
                          count(*) FILTER (WHERE t.status = 'failed') AS failed,
                          count(*) FILTER (WHERE t.status = 'cancelled') AS cancelled,
                          coalesce(sum(t.compute_seconds), 0) AS compute_seconds
                   FROM transfers t WHERE t.retune = r.id
               ) c "# + $ending
            $(, $argument)*
        )
    };
}

impl From<Row> for Retune {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            status: row.status,
            reason: row.reason,
            base_model: row.base_model,
            base_version: row.base_version,
            counts: Counts {
                queued: row.queued,
                running: row.running,
                awaiting_evaluation: row.awaiting_evaluation,
                cancelling: row.cancelling,
                succeeded: row.succeeded,
                failed: row.failed,
                cancelled: row.cancelled,
            },
            limits: Limits {
                max_concurrent: row.max_concurrent,
                max_compute_seconds: row.max_compute_seconds,
            },
            compute_seconds: row.compute_seconds,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    }
}

/// A tenant's retune, if it has one with this id.
///
/// # Errors
/// From the database.
pub async fn get(
    database: &Database,
    tenant: TenantId,
    id: RetuneId,
) -> Result<Option<Retune>, sqlx::Error> {
    let row = select!("WHERE r.id = $1 AND r.tenant = $2", id.0, tenant.0);
    Ok(row
        .fetch_optional(&mut *database.scope(tenant).await?)
        .await?
        .map(Retune::from))
}

/// A retune that is there.
pub(in crate::service) async fn by_id(
    connection: &mut PgConnection,
    id: RetuneId,
) -> Result<Retune, sqlx::Error> {
    Ok(select!("WHERE r.id = $1", id.0)
        .fetch_one(connection)
        .await?
        .into())
}

/// A tenant's retunes that pass the filter, newest first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    filter: &ListFilter,
) -> Result<Vec<Retune>, sqlx::Error> {
    let rows = select!(
        "WHERE r.tenant = $1
           AND ($2::retune_status IS NULL OR r.status = $2)
           AND ($3::text IS NULL OR m.name = $3)
           AND ($4::uuid IS NULL OR r.id < $4)
         ORDER BY r.id DESC LIMIT $5",
        tenant.0,
        filter.status as Option<RetuneStatus>,
        filter.base_model,
        filter.after.map(Uuid::from),
        filter.limit,
    );
    Ok(rows
        .fetch_all(&mut *database.scope(tenant).await?)
        .await?
        .into_iter()
        .map(Retune::from)
        .collect())
}
