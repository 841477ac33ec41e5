//! How an attempt ended, written under its lease token.

use std::time::Duration;

use metrics::histogram;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{Done, Finished, job_error};
use crate::{
    pipeline::{Failure, Outcome, Stop},
    service::{
        database::{outage::is_passing, transfers::leases::Claimed},
        domain::{leases::Lease, transfers::JobError},
        registry::{
            attempts::{self, AfterFailure},
            evaluations,
        },
        worker::Worker,
    },
    telemetry::traces,
};

/// How long the record of the end may be tried once the process is to end.
const RECORD_GRACE: Duration = Duration::from_secs(2);
/// Waits before the record of an end is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// How an attempt ended.
pub(super) enum End {
    Finished {
        finished: Finished,
        /// Since it was claimed.
        took: Duration,
    },
    /// The specification is of another version of this program.
    Unreadable(JobError),
}

impl End {
    fn log(&self) {
        match self {
            Self::Finished {
                finished: Ok(Done::Final(outcome)),
                ..
            } => {
                tracing::info!(verdict = ?outcome.verdict, "finished");
            }
            Self::Finished {
                finished: Ok(Done::Staged { gate, .. }),
                ..
            } => {
                tracing::info!(gate = gate.name, "staged, to be evaluated");
            }
            _ => {}
        }
    }
}

/// Records the end, and tries again for as long as the database does not answer: whether it is still ours to
/// record is for the lease token to say, not for the time that has passed. An outage thus costs no attempt.
pub(super) async fn record(
    worker: &Worker,
    lease: &Lease<Claimed>,
    end: End,
    shutdown: &CancellationToken,
) -> Recorded {
    end.log();
    tokio::select! {
        recorded = persist(worker, lease, &end) => recorded,
        () = last_word(shutdown) => {
            tracing::error!("the process ends before the end could be recorded; the lease will run out");
            Recorded::attempt("unrecorded")
        }
    }
}

async fn persist(worker: &Worker, lease: &Lease<Claimed>, end: &End) -> Recorded {
    let mut pause = FIRST_PAUSE;
    loop {
        match write(worker, lease, end).await {
            Ok(Some(recorded)) => return recorded,
            Ok(None) => {
                tracing::warn!("the lease is lost; its new holder decides");
                return Recorded::attempt("lost");
            }
            Err(error) if is_passing(&error) => {
                tracing::warn!(%error, "cannot record the end; trying again");
            }
            Err(error) => {
                tracing::error!(%error, "the end cannot be recorded; the lease will run out");
                return Recorded::attempt("unrecorded");
            }
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

async fn last_word(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    time::sleep(RECORD_GRACE).await;
}

/// What was recorded of an attempt.
pub(super) struct Recorded {
    outcome: &'static str,
    /// Its code.
    error: Option<String>,
    /// Whether the transfer is over.
    is_last: bool,
}

impl Recorded {
    /// Of an attempt that others follow.
    fn attempt(outcome: &'static str) -> Self {
        Self {
            outcome,
            error: None,
            is_last: false,
        }
    }

    fn last(outcome: &'static str) -> Self {
        Self {
            is_last: true,
            ..Self::attempt(outcome)
        }
    }

    fn failed(after: AfterFailure, error: &JobError) -> Self {
        match after {
            AfterFailure::QueuedAgain => Self {
                error: Some(error.code.clone()),
                ..Self::attempt("failed")
            },
            AfterFailure::Failed => Self {
                error: Some(error.code.clone()),
                ..Self::last("failed")
            },
            AfterFailure::Cancelled => Self::last("cancelled"),
        }
    }

    pub(super) fn for_trace(&self) -> traces::Outcome<'_> {
        let Self {
            outcome,
            error,
            is_last,
        } = self;
        traces::Outcome {
            name: outcome,
            error: error.as_deref(),
            is_last: *is_last,
        }
    }
}

/// Writes the end under the lease token; `None` when that is not ours any more.
async fn write(
    worker: &Worker,
    lease: &Lease<Claimed>,
    end: &End,
) -> Result<Option<Recorded>, sqlx::Error> {
    match end {
        End::Unreadable(error) => write_unreadable(worker, lease, error).await,
        End::Finished {
            finished: Ok(done),
            took,
        } => write_done(worker, lease, done, *took).await,
        End::Finished {
            finished: Err(failure),
            ..
        } => write_failure(worker, lease, failure).await,
    }
}

async fn write_unreadable(
    worker: &Worker,
    lease: &Lease<Claimed>,
    error: &JobError,
) -> Result<Option<Recorded>, sqlx::Error> {
    let policy = worker.settings.retry_policy();
    let after = attempts::decline(&worker.database, lease, error, policy).await?;
    tracing::warn!(
        code = error.code,
        detail = error.detail,
        ?after,
        "left to other versions"
    );

    Ok(after.map(|after| Recorded::failed(after, error)))
}

async fn write_done(
    worker: &Worker,
    lease: &Lease<Claimed>,
    done: &Done,
    took: Duration,
) -> Result<Option<Recorded>, sqlx::Error> {
    match done {
        Done::Staged { outcome, gate } => {
            let held = evaluations::wait(&worker.database, lease, outcome, gate).await?;
            Ok(held.then(|| Recorded::attempt("staged")))
        }
        Done::Final(outcome) => {
            let held = attempts::succeed(&worker.database, lease, outcome).await?;
            if held {
                time_transfer(outcome, took);
            }
            Ok(held.then(|| Recorded::last("succeeded")))
        }
    }
}

fn time_transfer(outcome: &Outcome, took: Duration) {
    histogram!("retune_transfer_seconds", "verdict" => outcome.verdict.name())
        .record(took.as_secs_f64());
}

async fn write_failure(
    worker: &Worker,
    lease: &Lease<Claimed>,
    failure: &Failure,
) -> Result<Option<Recorded>, sqlx::Error> {
    let (error, may_retry) = match failure {
        Failure::Stopped(Stop::Cancelled) => {
            let held = attempts::cancelled(&worker.database, lease).await?;
            return Ok(held.then(|| Recorded::last("cancelled")));
        }
        Failure::Stopped(Stop::HandedBack) => {
            let held = attempts::hand_back(&worker.database, lease).await?;
            return Ok(held.then(|| Recorded::attempt("handed_back")));
        }
        Failure::Input {
            code,
            pointer,
            detail,
        } => (job_error(code.name(), detail, pointer.as_deref()), false),
        Failure::Internal { code, detail } => (job_error(code.name(), detail, None), true),
    };

    let policy = worker.settings.retry_policy();
    let after = attempts::fail(&worker.database, lease, &error, may_retry, policy).await?;
    tracing::warn!(
        code = error.code,
        detail = error.detail,
        ?after,
        "the attempt failed"
    );

    Ok(after.map(|after| Recorded::failed(after, &error)))
}
