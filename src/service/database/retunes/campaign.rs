//! A retune member by member: what was to be carried, and what came of it.

use serde_json::Value;
use time::OffsetDateTime;

use crate::{
    contract::{
        ids::{RetuneId, TenantId, TransferId},
        outcome::{Recommendation, Verdict},
    },
    service::{
        database::{Database, enum_labels},
        domain::{registry::fine_tunes::VersionState, transfers::Status},
    },
};

/// One fine-tune onto one base.
#[derive(Clone, Debug)]
pub struct Member {
    pub transfer: TransferId,
    pub fine_tune: String,
    /// Name of a registered target; otherwise its location says it all.
    pub base_version: Option<String>,
    pub target_base: String,
    pub status: Status,
    pub verdict: Option<Verdict>,
    pub recommendation: Option<Recommendation>,
    pub metrics: Option<Value>,
    pub error_detail: Option<String>,
    pub progress_done: Option<i64>,
    pub progress_total: Option<i64>,
    pub compute_seconds: f64,
    pub finished_at: Option<OffsetDateTime>,
    /// The version that it made.
    pub version: Option<i32>,
    pub state: Option<VersionState>,
    /// `production` stands on that version.
    pub in_production: bool,
}

/// The columns of [`Member`], flat.
struct Row {
    transfer: TransferId,
    fine_tune: String,
    base_version: Option<String>,
    target_base: String,
    status: Status,
    verdict: Option<String>,
    recommendation: Option<String>,
    metrics: Option<Value>,
    error_detail: Option<String>,
    progress_done: Option<i64>,
    progress_total: Option<i64>,
    compute_seconds: f64,
    finished_at: Option<OffsetDateTime>,
    version: Option<i32>,
    state: Option<VersionState>,
    in_production: bool,
}

impl TryFrom<Row> for Member {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            transfer: row.transfer,
            fine_tune: row.fine_tune,
            base_version: row.base_version,
            target_base: row.target_base,
            status: row.status,
            verdict: enum_labels::value(row.verdict)?,
            recommendation: enum_labels::value(row.recommendation)?,
            metrics: row.metrics,
            error_detail: row.error_detail,
            progress_done: row.progress_done,
            progress_total: row.progress_total,
            compute_seconds: row.compute_seconds,
            finished_at: row.finished_at,
            version: row.version,
            state: row.state,
            in_production: row.in_production,
        })
    }
}

/// The members of a tenant's retune, by fine-tune and base.
///
/// # Errors
/// From the database.
pub async fn members(
    database: &Database,
    tenant: TenantId,
    retune: RetuneId,
) -> Result<Vec<Member>, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT t.id AS transfer, f.name AS fine_tune, b.version AS "base_version?",
                  coalesce(t.target_base, '') AS "target_base!",
                  t.status AS "status: Status", t.verdict::text AS verdict,
                  t.recommendation::text AS recommendation, t.metrics, t.error_detail,
                  t.progress_done, t.progress_total, t.compute_seconds, t.finished_at,
                  v.number AS "version?", v.state AS "state?: VersionState",
                  EXISTS (SELECT FROM fine_tune_aliases a
                          WHERE a.fine_tune = f.id AND a.alias = 'production' AND a.version = v.id
                         ) AS "in_production!"
           FROM transfers t
           JOIN fine_tunes f ON f.id = t.fine_tune
           LEFT JOIN base_model_versions b ON b.id = t.base_version
           LEFT JOIN fine_tune_versions v ON v.transfer = t.id
           WHERE t.tenant = $1 AND t.retune = $2
           ORDER BY f.name, t.id"#,
        tenant.0,
        retune.0,
    )
    .fetch_all(&mut *scope)
    .await?;

    rows.into_iter().map(Member::try_from).collect()
}
