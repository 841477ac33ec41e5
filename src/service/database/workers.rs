//! Worker processes, for people to see and for the database to wake. The queue itself depends on leases alone.

use serde::Serialize;
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::Database;
use crate::{
    contract::ids::{TenantId, TransferId, WorkerId},
    service::domain::leases::Waiting,
};

/// A worker process seen lately.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Worker {
    #[schema(value_type = Uuid)]
    pub id: WorkerId,
    pub host: String,
    pub pid: i32,
    pub version: String,
    /// What it computes on: `cpu`, or the name of a GPU with its driver.
    pub device: String,
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub last_seen_at: OffsetDateTime,
    /// What it is working on.
    #[schema(value_type = Option<Uuid>)]
    pub transfer: Option<TransferId>,
}

/// What a process says of itself.
#[derive(Clone, Debug)]
pub struct Introduction {
    pub host: String,
    pub pid: i32,
    pub device: String,
}

/// Makes a process known, or says that it is still there, and hears how many there are.
///
/// # Errors
/// From the database.
pub async fn seen(
    database: &Database,
    id: WorkerId,
    own: &Introduction,
) -> Result<u32, sqlx::Error> {
    let others = sqlx::query_scalar!(
        r#"WITH mine AS (
               INSERT INTO workers (id, host, pid, version, device) VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (id) DO UPDATE SET last_seen_at = now()
           )
           SELECT count(*) AS "others!" FROM workers
           WHERE id <> $1 AND last_seen_at > now() - interval '90 seconds'"#,
        id.0,
        own.host,
        own.pid,
        env!("CARGO_PKG_VERSION"),
        own.device,
    )
    .fetch_one(&database.pool)
    .await?;
    Ok(u32::try_from(others + 1).unwrap_or(u32::MAX))
}

/// Where the database wakes this worker alone (`wake_worker`, in the migrations).
pub fn channel(id: WorkerId) -> String {
    format!("worker_{id}")
}

/// Says that this worker found nothing to do; where it `listens` it may be woken until it takes something.
///
/// # Errors
/// From the database.
pub async fn say_waiting(
    database: &Database,
    id: WorkerId,
    listens: bool,
) -> Result<Waiting, sqlx::Error> {
    let waiting = sqlx::query!(
        r#"WITH newly AS (
               UPDATE workers SET waiting_since = now(), listens = $2
               WHERE id = $1 AND (waiting_since IS NULL OR listens <> $2)
               RETURNING id
           )
           SELECT EXISTS (SELECT FROM newly) AS "is_new!",
                  (SELECT count(*) FROM workers
                   WHERE waiting_since IS NOT NULL AND last_seen_at > now() - interval '90 seconds'
                     AND id <> $1) AS "others!""#,
        id.0,
        listens
    )
    .fetch_one(&database.pool)
    .await?;

    Ok(Waiting {
        is_new: waiting.is_new,
        processes: u32::try_from(waiting.others + 1).unwrap_or(u32::MAX),
    })
}

/// Forgets a process that has ended.
///
/// # Errors
/// From the database.
pub async fn remove(database: &Database, id: WorkerId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM workers WHERE id = $1", id.0)
        .execute(&database.pool)
        .await?;
    Ok(())
}

/// Forgets those that died without a word: silent for five minutes.
///
/// # Errors
/// From the database.
pub async fn remove_silent(database: &Database) -> Result<u64, sqlx::Error> {
    let gone =
        sqlx::query!("DELETE FROM workers WHERE last_seen_at < now() - interval '5 minutes'")
            .execute(&database.pool)
            .await?;
    Ok(gone.rows_affected())
}

/// The workers seen in the last five minutes, oldest first.
///
/// # Errors
/// From the database.
pub async fn list(database: &Database) -> Result<Vec<Worker>, sqlx::Error> {
    let mut connection = database.pool.acquire().await?;
    select(&mut connection).await
}

/// The same as a tenant may see it: without the transfers of others.
///
/// # Errors
/// From the database.
pub async fn list_for(database: &Database, tenant: TenantId) -> Result<Vec<Worker>, sqlx::Error> {
    // Which transfers there are is for the scope to say.
    let mut scope = database.scope(tenant).await?;
    select(&mut scope).await
}

async fn select(connection: &mut PgConnection) -> Result<Vec<Worker>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT w.id, w.host, w.pid, w.version, w.device, w.started_at, w.last_seen_at,
                  (SELECT t.id FROM transfers t
                   WHERE t.worker = w.id AND t.status IN ('running', 'cancelling')
                   LIMIT 1) AS "transfer"
           FROM workers w
           WHERE w.last_seen_at >= now() - interval '5 minutes'
           ORDER BY w.started_at, w.id"#
    )
    .fetch_all(connection)
    .await?;

    let workers = rows.into_iter().map(|row| Worker {
        id: row.id.into(),
        host: row.host,
        pid: row.pid,
        version: row.version,
        device: row.device,
        started_at: row.started_at,
        last_seen_at: row.last_seen_at,
        transfer: row.transfer.map(TransferId),
    });

    Ok(workers.collect())
}

/// Sets back by so many seconds when workers were seen.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn set_back(
    connection: &mut PgConnection,
    seconds: f64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE workers SET last_seen_at = last_seen_at - make_interval(secs => $1),
             waiting_since = waiting_since - make_interval(secs => $1)",
        seconds
    )
    .execute(connection)
    .await?;
    Ok(())
}
