//! Whether the database answers, has this program's schema and gives its rows; whether workers live; and whether
//! the clocks agree.

use std::time::Duration;

use time::OffsetDateTime;

use super::finding::Finding;
use crate::{
    config::Settings,
    service::{
        database::{
            Database, Readiness, clock, transfers,
            workers::{self, Worker},
        },
        domain::transfers::Status,
    },
};

/// Leases and deadlines are the database's: a clock that is off by so much only confuses whoever reads logs.
const CLOCK_LIMIT: Duration = Duration::from_secs(5);

/// A worker writes that it lives every few seconds.
const SILENT_AFTER: Duration = Duration::from_mins(1);

pub async fn look(settings: &Settings) -> Vec<Finding> {
    let database = match Database::connect(settings).await {
        Ok(database) => database,
        Err(error) => {
            let mend = "start the server, or mend DATABASE_URL: host, user, password, name";
            return vec![Finding::trouble("database", error.to_string(), mend)];
        }
    };

    let mut findings = vec![schema(&database).await];
    if findings[0].mend.is_none() {
        findings.push(clocks(&database).await);
        findings.extend(of_workers(&database).await);
        findings.push(queue(&database).await);
    }

    database.pool.close().await;
    findings
}

/// The database did not answer a question.
fn unanswered(subject: &str, error: &sqlx::Error) -> Finding {
    Finding::trouble(
        subject,
        error.to_string(),
        "look at the log of the database server",
    )
}

async fn schema(database: &Database) -> Finding {
    match database.is_ready().await {
        Ok(Readiness::Ready) => Finding::ok("database", "answers, with this schema and all rights"),
        Ok(Readiness::OtherSchema) => {
            let found = "the schema is not the one of this program";
            Finding::trouble(
                "database",
                found,
                "run `retune migrate`, or the program of that schema",
            )
        }
        // It says itself what to run.
        Ok(Readiness::Rights(error)) => Finding::trouble(
            "database",
            error.to_string(),
            "run what is said there, as a user who may",
        ),
        Err(error) => unanswered("database", &error),
    }
}

async fn clocks(database: &Database) -> Finding {
    let before = OffsetDateTime::now_utc();
    match clock::now(database).await {
        Ok(there) => {
            let own = before + (OffsetDateTime::now_utc() - before) / 2;
            of_clocks(own, there)
        }
        Err(error) => unanswered("clock", &error),
    }
}

fn of_clocks(own: OffsetDateTime, there: OffsetDateTime) -> Finding {
    let apart = (own - there).abs().unsigned_abs();
    let found = format!(
        "this machine and the database are {:.1} s apart",
        apart.as_secs_f64()
    );
    if apart > CLOCK_LIMIT {
        return Finding::trouble(
            "clock",
            found,
            "let both follow a time server (chrony, systemd-timesyncd)",
        );
    }
    Finding::ok("clock", found)
}

async fn of_workers(database: &Database) -> Vec<Finding> {
    match workers::list(database).await {
        // By the clock that wrote it.
        Ok(found) => match clock::now(database).await {
            Ok(now) => judge_workers(&found, now),
            Err(error) => vec![unanswered("workers", &error)],
        },
        Err(error) => vec![unanswered("workers", &error)],
    }
}

fn judge_workers(workers: &[Worker], now: OffsetDateTime) -> Vec<Finding> {
    let alive: Vec<&Worker> = workers
        .iter()
        .filter(|worker| now - worker.last_seen_at < SILENT_AFTER)
        .collect();
    let mut findings = Vec::new();
    if alive.is_empty() {
        let mend = "start `retune serve`, or `retune work` beside an API that has none";
        findings.push(Finding::trouble(
            "workers",
            "none has been seen for a minute",
            mend,
        ));
    } else {
        let busy = alive
            .iter()
            .filter(|worker| worker.transfer.is_some())
            .count();
        findings.push(Finding::ok(
            "workers",
            format!("{} live, {busy} are at work", alive.len()),
        ));
    }

    let other = alive
        .iter()
        .find(|worker| worker.version != env!("CARGO_PKG_VERSION"));
    findings.extend(other.map(|worker| {
        let found = format!(
            "{} runs version {}, this is {}",
            worker.host,
            worker.version,
            env!("CARGO_PKG_VERSION")
        );
        Finding::warning(
            "workers",
            found,
            "bring all to one version; jobs wait for a worker that reads them",
        )
    }));
    findings
}

async fn queue(database: &Database) -> Finding {
    match transfers::count_by_status(database).await {
        Ok(counts) => {
            let found = format!(
                "{} wait, {} are at work, {} have failed",
                count(&counts, Status::Queued),
                count(&counts, Status::Running),
                count(&counts, Status::Failed)
            );
            Finding::ok("transfers", found)
        }
        Err(error) => unanswered("transfers", &error),
    }
}

fn count(counts: &[(Status, i64)], wanted: Status) -> i64 {
    counts
        .iter()
        .find(|(status, _)| *status == wanted)
        .map_or(0, |(_, count)| *count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::doctor::finding::State, contract::ids::WorkerId};

    fn worker(now: OffsetDateTime, silent: Duration, version: &str) -> Worker {
        Worker {
            id: WorkerId::generate(),
            host: "a".into(),
            pid: 1,
            version: version.into(),
            device: "cpu".into(),
            started_at: now,
            last_seen_at: now - silent,
            transfer: None,
        }
    }

    #[test]
    fn workers_that_fell_silent_do_not_count() {
        let now = OffsetDateTime::now_utc();
        let own = env!("CARGO_PKG_VERSION");
        let silent = judge_workers(&[worker(now, Duration::from_mins(2), own)], now);
        assert_eq!(silent[0].state, State::Trouble);
        let alive = judge_workers(&[worker(now, Duration::from_secs(5), own)], now);
        assert_eq!((alive.len(), alive[0].state), (1, State::Ok));
        let old = judge_workers(&[worker(now, Duration::from_secs(5), "0.0.1")], now);
        assert_eq!((old.len(), old[1].state), (2, State::Warning));
    }

    #[test]
    fn clocks_may_differ_a_little() {
        let now = OffsetDateTime::now_utc();
        assert_eq!(
            of_clocks(now, now - Duration::from_secs(4)).state,
            State::Ok
        );
        assert_eq!(
            of_clocks(now, now + Duration::from_secs(6)).state,
            State::Trouble
        );
    }
}
