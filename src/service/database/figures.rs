//! What `/metrics` tells of the queue: counts and ages over all tenants, none of them by name.

use std::collections::HashMap;

use sqlx::FromRow;

use super::{Database, transfers};
use crate::{
    contract::ids::AttemptId,
    service::domain::transfers::{AttemptOutcome, Status},
};

/// The queue at one moment.
#[derive(Clone, Debug)]
pub struct Figures {
    pub transfers: Vec<(Status, i64)>,
    pub waiting: Waiting,
    /// How attempts ended since the last look.
    pub attempts: HashMap<AttemptOutcome, i64>,
    /// Where the next look for attempts begins.
    pub seen: Mark,
}

/// What waits, and for how long; workers.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct Waiting {
    /// For how long the transfer that a worker could take first has been waiting for one.
    pub oldest_queued_seconds: f64,
    pub deliveries: i64,
    /// For how long the delivery that is due first has been due.
    pub webhook_lag_seconds: f64,
    pub arrivals: i64,
    pub workers_busy: i64,
    pub workers_idle: i64,
}

/// Attempts up to here are counted. An id begins with the time at which its row was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(AttemptId);

/// Rows are counted so long after they were written: by then their transaction has ended, for one that
/// idles for so long is ended by the database.
const SETTLED: &str = "12 seconds";

/// Looks at everything; attempts since `since`, none without it.
///
/// # Errors
/// From the database.
pub async fn look(database: &Database, since: Option<Mark>) -> Result<Figures, sqlx::Error> {
    let transfers = transfers::count_by_status(database).await?;
    let waiting = waiting(database).await?;
    let seen = settled(database).await?;
    // What was counted before the clock was set back is not counted again.
    let seen = since.map_or(seen, |since| seen.max(since));
    let attempts = match since {
        Some(since) => attempts(database, since, seen).await?,
        None => HashMap::new(),
    };

    Ok(Figures {
        transfers,
        waiting,
        attempts,
        seen,
    })
}

async fn waiting(database: &Database) -> Result<Waiting, sqlx::Error> {
    // A clock that went back makes no negative age.
    sqlx::query_as(
        "SELECT
             (SELECT coalesce(greatest(0, extract(epoch FROM now() - min(available_at))), 0)::float8
              FROM transfers WHERE status = 'queued' AND NOT held) AS oldest_queued_seconds,
             d.count AS deliveries,
             coalesce(greatest(0, extract(epoch FROM now() - d.first)), 0)::float8 AS webhook_lag_seconds,
             (SELECT count(*) FROM arrivals WHERE status = 'waiting') AS arrivals,
             w.busy AS workers_busy, w.known - w.busy AS workers_idle
         FROM (SELECT count(*) AS count, min(next_attempt_at) AS first
               FROM deliveries WHERE status = 'pending') AS d,
              (SELECT count(*) AS known, count(*) FILTER (WHERE EXISTS (
                   SELECT 1 FROM transfers t
                   WHERE t.worker = workers.id AND t.status IN ('running', 'cancelling'))) AS busy
               FROM workers WHERE last_seen_at >= now() - interval '5 minutes') AS w",
    )
    .fetch_one(&database.pool)
    .await
}

/// The smallest id of a row that is written from [`SETTLED`] ago on.
async fn settled(database: &Database) -> Result<Mark, sqlx::Error> {
    let milliseconds: i64 = sqlx::query_scalar(
        "SELECT (extract(epoch FROM clock_timestamp() - $1::text::interval) * 1000)::bigint",
    )
    .bind(SETTLED)
    .fetch_one(&database.pool)
    .await?;

    let milliseconds = u64::try_from(milliseconds).unwrap_or_default();
    let first = uuid::Builder::from_unix_timestamp_millis(milliseconds, &[0; 10]).into_uuid();
    Ok(Mark(first.into()))
}

async fn attempts(
    database: &Database,
    since: Mark,
    until: Mark,
) -> Result<HashMap<AttemptOutcome, i64>, sqlx::Error> {
    let counts: Vec<(String, i64)> = sqlx::query_as(
        "SELECT outcome::text, count(*) FROM attempts
         WHERE id >= $1 AND id < $2 AND outcome IS NOT NULL GROUP BY outcome",
    )
    .bind(since.0)
    .bind(until.0)
    .fetch_all(&database.pool)
    .await?;

    // One that this version does not know stands in no figure.
    let known = counts
        .into_iter()
        .filter_map(|(outcome, count)| Some((AttemptOutcome::of(&outcome)?, count)));

    Ok(known.collect())
}
