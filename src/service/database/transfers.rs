//! Transfers as their owners see them: submit, look, cancel, retry. Workers: `leases`.

use serde_json::{Value, json};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Database, audit_events, events, names,
    quotas::{self, QuotaExceeded},
};
use crate::{
    config,
    service::{
        access::Caller,
        jobs::{JobError, Progress, ResultLocation, Status, Transfer},
    },
};

/// A transfer to be queued.
#[derive(Clone, Debug)]
pub struct Enqueue {
    pub tenant: Uuid,
    /// A checked `Spec`, as JSON.
    pub spec: Value,
    /// An object of strings.
    pub metadata: Value,
    pub idempotency: Option<Idempotency>,
    pub max_attempts: i32,
}

/// The submitter's promise that requests under one key are one request.
#[derive(Clone, Debug)]
pub struct Idempotency {
    pub key: String,
    pub request_sha256: [u8; 32],
}

/// The transfer of a submission, `replayed` when an earlier request had made it.
#[derive(Clone, Debug)]
pub struct Enqueued {
    pub transfer: Transfer,
    pub replayed: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    #[error("this Idempotency-Key was used with another request")]
    IdempotencyConflict,
    #[error(transparent)]
    QuotaExceeded(#[from] QuotaExceeded),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum TransitionError {
    /// The transfer's status does not allow it.
    #[error("the transfer is {status:?}")]
    InvalidState { status: Status },
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Which transfers to list; everything given must hold.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    pub status: Option<Status>,
    /// Source base or target base.
    pub base: Option<String>,
    pub metadata: Vec<(String, String)>,
    pub limit: i64,
    /// The last transfer of the page before.
    pub after: Option<Uuid>,
}

/// The columns of [`Transfer`], flat.
struct Row {
    id: Uuid,
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
    revision: i64,
}

/// `SELECT` of [`Row`]s from where the ending says, so that the columns are named once.
macro_rules! select {
    ($ending:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"SELECT id AS "id!", status AS "status!: Status", phase::text AS "phase",
                      progress_done, progress_total, progress_unit, estimated_finish,
                      attempt AS "attempt!", created_at AS "created_at!", started_at, finished_at,
                      spec AS "spec!", result_uri, manifest_sha256, verdict::text AS "verdict",
                      recommendation::text AS "recommendation", metrics,
                      error_code, error_detail, error_pointer, metadata AS "metadata!",
                      revision AS "revision!"
               FROM "# + $ending
            $(, $argument)*
        )
    };
}

impl TryFrom<Row> for Transfer {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let progress = match (row.progress_done, row.progress_total, row.progress_unit) {
            (Some(done), Some(total), Some(unit)) => {
                Some(Progress { done, total, unit, estimated_finish: row.estimated_finish })
            }
            _ => None,
        };
        let result = row
            .result_uri
            .zip(row.manifest_sha256)
            .map(|(uri, manifest_sha256)| ResultLocation { uri, manifest_sha256 });
        let error = row.error_code.zip(row.error_detail).map(|(code, detail)| JobError {
            code,
            detail,
            pointer: row.error_pointer,
        });
        Ok(Self {
            id: row.id,
            status: row.status,
            phase: names::value(row.phase)?,
            progress,
            attempt: row.attempt,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            spec: row.spec,
            result,
            verdict: names::value(row.verdict)?,
            recommendation: names::value(row.recommendation)?,
            metrics: row.metrics,
            error,
            metadata: row.metadata,
            revision: row.revision,
        })
    }
}

/// Queues a transfer that somebody asked for, within the tenant's quotas.
///
/// # Errors
/// As [`enqueue`], and [`EnqueueError::QuotaExceeded`].
pub async fn submit(
    database: &Database,
    caller: impl Into<Caller>,
    new: Enqueue,
    quotas: &config::Quotas,
) -> Result<Enqueued, EnqueueError> {
    let caller = caller.into();
    let mut scope = database.scope(caller.tenant).await?;
    let enqueued = enqueue_in(&mut scope, new).await?;
    if enqueued.replayed {
        return Ok(enqueued);
    }
    if let Some(exceeded) = quotas::check(&mut scope, caller.tenant, quotas).await? {
        return Err(exceeded.into());
    }
    let subject = format!("transfers/{}", enqueued.transfer.id);
    audit_events::record(&mut scope, caller, "transfer.submit", &subject).await?;
    scope.commit().await?;
    Ok(enqueued)
}

/// Queues a transfer, once per idempotency key.
///
/// # Errors
/// [`EnqueueError::IdempotencyConflict`] when the key came with another request before.
pub async fn enqueue(database: &Database, new: Enqueue) -> Result<Enqueued, EnqueueError> {
    let mut scope = database.scope(new.tenant).await?;
    let enqueued = enqueue_in(&mut scope, new).await?;
    scope.commit().await?;
    Ok(enqueued)
}

async fn enqueue_in(connection: &mut PgConnection, new: Enqueue) -> Result<Enqueued, EnqueueError> {
    let id = Uuid::now_v7();
    let (key, sha256) = match &new.idempotency {
        Some(idempotency) => (Some(&*idempotency.key), Some(&idempotency.request_sha256[..])),
        None => (None, None),
    };
    // A concurrent request with this key makes us wait for its commit, then insert nothing.
    let inserted = sqlx::query!(
        "INSERT INTO transfers (id, tenant, spec, metadata, idempotency_key, request_sha256, max_attempts)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (tenant, idempotency_key) DO NOTHING",
        id,
        new.tenant,
        new.spec,
        new.metadata,
        key,
        sha256,
        new.max_attempts,
    )
    .execute(&mut *connection)
    .await?;
    if inserted.rows_affected() == 1 {
        events::insert(connection, id, "transfer.queued", json!({"reason": "submitted"})).await?;
        let transfer = by_id(connection, id).await?;
        return Ok(Enqueued { transfer, replayed: false });
    }
    let earlier = sqlx::query!(
        "SELECT id, request_sha256 FROM transfers WHERE tenant = $1 AND idempotency_key = $2",
        new.tenant,
        key,
    )
    .fetch_one(&mut *connection)
    .await?;
    if earlier.request_sha256.as_deref() != sha256 {
        return Err(EnqueueError::IdempotencyConflict);
    }
    let transfer = by_id(connection, earlier.id).await?;
    Ok(Enqueued { transfer, replayed: true })
}

async fn by_id(connection: &mut PgConnection, id: Uuid) -> Result<Transfer, sqlx::Error> {
    select!("transfers WHERE id = $1", id).fetch_one(connection).await?.try_into()
}

/// A tenant's transfer, if it has one with this id.
///
/// # Errors
/// From the database.
pub async fn get(
    database: &Database,
    tenant: Uuid,
    id: Uuid,
) -> Result<Option<Transfer>, sqlx::Error> {
    // What clients ask most: one round trip, behind the wall all the same.
    select!("transfer_of($1, $2)", tenant, id)
        .fetch_optional(&database.pool)
        .await?
        .map(Transfer::try_from)
        .transpose()
}

/// A tenant's transfers that pass the filter, newest first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: Uuid,
    filter: &ListFilter,
) -> Result<Vec<Transfer>, sqlx::Error> {
    let metadata: Value = filter
        .metadata
        .iter()
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let mut scope = database.scope(tenant).await?;
    let rows = select!(
        "transfers
         WHERE tenant = $1
           AND ($2::transfer_status IS NULL OR status = $2)
           AND ($3::text IS NULL OR source_base = $3 OR target_base = $3)
           AND metadata @> $4
           AND ($5::uuid IS NULL OR id < $5)
         ORDER BY id DESC LIMIT $6",
        tenant,
        filter.status as Option<Status>,
        filter.base.as_deref(),
        metadata,
        filter.after,
        filter.limit,
    )
    .fetch_all(&mut *scope)
    .await?;
    rows.into_iter().map(Transfer::try_from).collect()
}

/// Cancels a queued transfer at once; asks the worker of a running one to stop. Asking twice is
/// asking once.
///
/// # Errors
/// [`TransitionError::InvalidState`] when it is over already.
pub async fn request_cancel(
    database: &Database,
    caller: impl Into<Caller>,
    id: Uuid,
) -> Result<Option<Transfer>, TransitionError> {
    let caller = caller.into();
    let mut transaction = database.scope(caller.tenant).await?;
    let Some(status) = lock(&mut transaction, caller.tenant, id).await? else { return Ok(None) };
    match status {
        Status::Queued => {
            sqlx::query!(
                "UPDATE transfers SET status = 'cancelled', finished_at = now() WHERE id = $1",
                id
            )
            .execute(&mut *transaction)
            .await?;
            events::insert(&mut transaction, id, "transfer.cancelled", json!({})).await?;
        }
        Status::Running => {
            sqlx::query!("UPDATE transfers SET status = 'cancelling' WHERE id = $1", id)
                .execute(&mut *transaction)
                .await?;
        }
        Status::Cancelling => {}
        Status::Succeeded | Status::Failed | Status::Cancelled => {
            return Err(TransitionError::InvalidState { status });
        }
    }
    audit_events::record(&mut transaction, caller, "transfer.cancel", &format!("transfers/{id}"))
        .await?;
    let transfer = by_id(&mut transaction, id).await?;
    transaction.commit().await?;
    Ok(Some(transfer))
}

/// Queues a failed or cancelled transfer again, with all its attempts before it.
///
/// # Errors
/// [`TransitionError::InvalidState`] when it has not ended, or has succeeded.
pub async fn retry(
    database: &Database,
    caller: impl Into<Caller>,
    id: Uuid,
) -> Result<Option<Transfer>, TransitionError> {
    let caller = caller.into();
    let mut transaction = database.scope(caller.tenant).await?;
    let Some(status) = lock(&mut transaction, caller.tenant, id).await? else { return Ok(None) };
    if !matches!(status, Status::Failed | Status::Cancelled) {
        return Err(TransitionError::InvalidState { status });
    }
    sqlx::query!(
        "UPDATE transfers
         SET status = 'queued', attempt = 0, available_at = now(),
             started_at = NULL, finished_at = NULL,
             error_code = NULL, error_detail = NULL, error_pointer = NULL
         WHERE id = $1",
        id
    )
    .execute(&mut *transaction)
    .await?;
    events::insert(&mut transaction, id, "transfer.queued", json!({"reason": "retried"})).await?;
    audit_events::record(&mut transaction, caller, "transfer.retry", &format!("transfers/{id}"))
        .await?;
    let transfer = by_id(&mut transaction, id).await?;
    transaction.commit().await?;
    Ok(Some(transfer))
}

/// Reads the status and keeps others from changing it until the transaction ends.
async fn lock(
    connection: &mut PgConnection,
    tenant: Uuid,
    id: Uuid,
) -> Result<Option<Status>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT status AS "status: Status" FROM transfers
           WHERE id = $1 AND tenant = $2 FOR UPDATE"#,
        id,
        tenant,
    )
    .fetch_optional(connection)
    .await
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
