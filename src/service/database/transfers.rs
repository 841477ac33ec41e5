//! Transfers as their owners see them; what workers, retunes and evaluations do with them is in files below.

pub(in crate::service) mod control;
mod enqueue;
pub(in crate::service) mod evaluations;
pub mod leases;
pub(in crate::service) mod members;
pub mod position;
pub mod progress;
pub(in crate::service) mod removal;
mod search;

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Database, enum_labels};
use crate::{
    contract::ids::{RetuneId, TenantId, TransferId},
    pipeline::Verdict,
    service::domain::transfers::{
        ExternalEvaluation, JobError, Progress, ResultLocation, Status, Transfer,
    },
};

pub use enqueue::Enqueue;
pub(in crate::service) use enqueue::{find_by_key, insert};

/// Which transfers to list; everything given must hold.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// Any of these; any at all where there are none.
    pub statuses: Vec<Status>,
    pub verdict: Option<Verdict>,
    /// Source base or target base.
    pub base: Option<String>,
    /// Part of an id, a base, a trajectory, a fine-tune's name or the metadata, whatever its case.
    pub search: Option<String>,
    pub created_after: Option<OffsetDateTime>,
    pub created_before: Option<OffsetDateTime>,
    pub metadata: Vec<(String, String)>,
    /// A part of the name, upper or lower case.
    pub name: Option<String>,
    pub retune: Option<RetuneId>,
    pub limit: i64,
    /// The last transfer of the page before.
    pub after: Option<TransferId>,
}

/// The columns of [`Transfer`], flat.
struct Row {
    id: TransferId,
    name: Option<String>,
    status: Status,
    phase: Option<String>,
    progress_done: Option<i64>,
    progress_total: Option<i64>,
    progress_unit: Option<String>,
    estimated_finish: Option<OffsetDateTime>,
    attempt: i32,
    created_at: OffsetDateTime,
    started_at: Option<OffsetDateTime>,
    finished_at: Option<OffsetDateTime>,
    spec: Value,
    result_uri: Option<String>,
    manifest_sha256: Option<String>,
    verdict: Option<String>,
    recommendation: Option<String>,
    metrics: Option<Value>,
    error_code: Option<String>,
    error_detail: Option<String>,
    error_pointer: Option<String>,
    metadata: Value,
    staged_uri: Option<String>,
    evaluation_deadline: Option<OffsetDateTime>,
    evaluation: Option<Value>,
    evaluated_at: Option<OffsetDateTime>,
    retune: Option<Uuid>,
    fine_tune: Option<String>,
    revision: i64,
}

/// `SELECT` of [`Row`]s from where the ending says, so that the columns are named once.
macro_rules! select {
    ($from:literal $(+ $more:literal)* $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"SELECT id AS "id!", name, status AS "status!: Status", phase::text AS "phase",
                      progress_done, progress_total, progress_unit, estimated_finish,
                      attempt AS "attempt!", created_at AS "created_at!", started_at, finished_at,
                      spec AS "spec!", result_uri, manifest_sha256, verdict::text AS "verdict",
                      recommendation::text AS "recommendation", metrics,
                      error_code, error_detail, error_pointer, metadata AS "metadata!", retune,
                      staged_uri, evaluation_deadline, evaluation, evaluated_at,
                      (SELECT f.name FROM fine_tunes f WHERE f.id = transfers.fine_tune) AS fine_tune,
                      revision AS "revision!"
               FROM "# + $from $(+ $more)*
            $(, $argument)*
        )
    };
}

impl TryFrom<Row> for Transfer {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let progress = match (row.progress_done, row.progress_total, row.progress_unit) {
            (Some(done), Some(total), Some(unit)) => Some(Progress {
                done,
                total,
                unit,
                estimated_finish: row.estimated_finish,
            }),
            _ => None,
        };

        let result = row
            .result_uri
            .zip(row.manifest_sha256)
            .map(|(uri, manifest_sha256)| ResultLocation {
                uri,
                manifest_sha256,
            });

        let error = row
            .error_code
            .zip(row.error_detail)
            .map(|(code, detail)| JobError {
                code,
                detail,
                pointer: row.error_pointer,
            });

        let answer = row.evaluation.map(serde_json::from_value).transpose();
        let answer = answer.map_err(|error| sqlx::Error::Decode(error.into()))?;
        let evaluation = row.evaluation_deadline.map(|deadline| ExternalEvaluation {
            staged_uri: row.staged_uri,
            deadline,
            answer,
            evaluated_at: row.evaluated_at,
        });

        Ok(Self {
            id: row.id,
            name: row.name,
            status: row.status,
            phase: enum_labels::value(row.phase)?,
            progress,
            attempt: row.attempt,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            spec: row.spec,
            result,
            verdict: enum_labels::value(row.verdict)?,
            recommendation: enum_labels::value(row.recommendation)?,
            metrics: row.metrics,
            error,
            metadata: row.metadata,
            evaluation,
            retune: row.retune.map(RetuneId),
            fine_tune: row.fine_tune,
            revision: row.revision,
        })
    }
}

/// A transfer that is there.
pub(in crate::service) async fn by_id(
    connection: &mut PgConnection,
    id: TransferId,
) -> Result<Transfer, sqlx::Error> {
    select!("transfers WHERE id = $1", id.0)
        .fetch_one(connection)
        .await?
        .try_into()
}

/// A tenant's transfer, if it has one with this id.
///
/// # Errors
/// From the database.
pub async fn get(
    database: &Database,
    tenant: TenantId,
    id: TransferId,
) -> Result<Option<Transfer>, sqlx::Error> {
    // What clients ask most: one round trip, behind the wall all the same.
    select!("transfer_of($1, $2) AS transfers", tenant.0, id.0)
        .fetch_optional(&database.pool)
        .await?
        .map(Transfer::try_from)
        .transpose()
}

/// The newest [`Row`]s that pass a filter, and a further condition that the planner has to see by itself.
macro_rules! matching {
    ($further:literal, $tenant:expr, $filter:expr, $metadata:expr $(, $argument:expr)*) => {
        select!(
            "transfers
         WHERE tenant = $1
           AND (cardinality($2::transfer_status[]) = 0 OR status = ANY ($2))
           AND ($3::text IS NULL OR source_base IN ($3, $3 || '/') OR target_base IN ($3, $3 || '/'))
           AND metadata @> $4
           AND ($5::uuid IS NULL OR retune = $5)
           AND ($6::uuid IS NULL OR id < $6)
           AND ($8::text IS NULL OR verdict::text = $8)
           AND ($9::timestamptz IS NULL OR created_at >= $9)
           AND ($10::timestamptz IS NULL OR created_at < $10)
           AND ($11::text IS NULL OR position(lower($11) IN lower(concat_ws(' ', id::text, source_base,
                   spec #>> '{source,trajectory}', target_base, name, metadata::text,
                   (SELECT f.name FROM fine_tunes f WHERE f.id = transfers.fine_tune)))) > 0)
           AND ($12::text IS NULL OR strpos(lower(name), lower($12)) > 0) "
                + $further
                + "ORDER BY id DESC LIMIT $7",
            $tenant.0,
            &$filter.statuses as &[Status],
            $filter.base.as_deref().map(|base| base.trim_end_matches('/')),
            $metadata,
            $filter.retune.map(Uuid::from),
            $filter.after.map(Uuid::from),
            $filter.limit,
            $filter.verdict.as_ref().map(enum_labels::label),
            $filter.created_after,
            $filter.created_before,
            $filter.search.as_deref(),
            $filter.name
            $(, $argument)*
        )
    };
}

/// A tenant's transfers that pass the filter, newest first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    filter: &ListFilter,
) -> Result<Vec<Transfer>, sqlx::Error> {
    let metadata: Value = filter
        .metadata
        .iter()
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
        .collect::<serde_json::Map<_, _>>()
        .into();

    let mut scope = database.scope(tenant).await?;
    let proposed = search::proposed(&mut scope, tenant, filter.search.as_deref()).await?;
    let rows = match proposed {
        Some(ids) => {
            matching!("AND id = ANY ($13) ", tenant, filter, metadata, &ids)
                .fetch_all(&mut *scope)
                .await?
        }
        None => {
            matching!("", tenant, filter, metadata)
                .fetch_all(&mut *scope)
                .await?
        }
    };

    rows.into_iter().map(Transfer::try_from).collect()
}

/// How many transfers of all tenants there are of each status that occurs.
///
/// # Errors
/// From the database.
pub async fn count_by_status(database: &Database) -> Result<Vec<(Status, i64)>, sqlx::Error> {
    sqlx::query_as("SELECT status, count(*) FROM transfers GROUP BY status")
        .fetch_all(&database.pool)
        .await
}
