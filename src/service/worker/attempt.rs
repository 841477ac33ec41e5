//! One attempt at one transfer, from the claim to the end recorded under its lease token.
//!
//! Every line that is logged on the way, on whatever thread of ours, stands in a span that names the transfer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use metrics::histogram;
use tokio::{sync::oneshot, time};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::{Worker, heartbeat::Heartbeat, watch::Watch};
use crate::{
    contract::{
        codes::FailureCode,
        evaluation::EvaluationRecord,
        spec::{ExternalGate, Spec, SpecError},
    },
    pipeline::{self, Failure, Job, Outcome, Staged, Stop},
    service::{
        database::{outage::is_passing, transfers::leases::Claimed},
        domain::{leases::Lease, transfers::JobError},
        registry::{
            attempts::{self, AfterFailure},
            evaluations,
        },
    },
    telemetry::traces,
};

/// How long a computation may take to notice that it should end, once nobody waits for it any more.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long the record of the end may be tried after that.
const RECORD_GRACE: Duration = Duration::from_secs(2);
/// Waits before the record of an end is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Graphs are walked recursively; the default of a thread is too little for deep ones.
const STACK_BYTES: usize = 16 << 20;

type Finished = Result<Done, Failure>;

/// What a computation has come to.
enum Done {
    /// The result is in its place.
    Final(Outcome),
    /// The result is staged, and waits for this gate.
    Staged {
        outcome: Outcome,
        gate: ExternalGate,
    },
}

/// Runs the pipeline to where it ends or waits for an external gate; where that has been answered, concludes.
fn work(job: Job, evaluation: Option<&EvaluationRecord>) -> Finished {
    let Some(gate) = job
        .spec
        .gate
        .as_ref()
        .and_then(|gate| gate.external.clone())
    else {
        return pipeline::run(job).map(Done::Final);
    };
    if evaluation.is_some() {
        return pipeline::conclude(job, evaluation).map(Done::Final);
    }
    match pipeline::run_to_staging(job)? {
        Staged::Waiting(outcome) => Ok(Done::Staged { outcome, gate }),
        Staged::Rejected(outcome) => Ok(Done::Final(outcome)),
    }
}

/// Runs a claimed transfer and records how it ended.
pub async fn run(worker: &Worker, lease: Lease<Claimed>, shutdown: &CancellationToken) {
    // Of the highest level, so that it stands before whatever is logged at all.
    let span = tracing::error_span!("attempt", transfer = %lease.transfer, number = lease.attempt);
    Box::pin(attempt(worker, lease, shutdown))
        .instrument(span)
        .await;
}

async fn attempt(worker: &Worker, lease: Lease<Claimed>, shutdown: &CancellationToken) {
    let trace = traces::Attempt::begin(lease.transfer.0, lease.attempt);
    let watch = Arc::new(Watch::over(lease.until, trace.clone()));
    tracing::info!("started");
    let begun = Instant::now();
    let spec = match Spec::from_json(&lease.spec) {
        Ok(spec) => spec,
        Err(error) => {
            let end = End::Unreadable(unreadable(&error));
            let recorded = record(worker, &lease, end, shutdown).await;
            return trace.end(recorded.for_trace());
        }
    };

    let heartbeat = Heartbeat::start(
        worker.database_url.clone(),
        lease.clone(),
        worker.settings.clone(),
        Arc::clone(&watch),
    );

    let finished = match &heartbeat {
        Ok(_) => compute(worker, &lease, spec, &watch, shutdown).await,
        Err(error) => Err(internal(
            FailureCode::NoThread,
            format!("no heartbeat could start: {error}"),
        )),
    };

    watch.end();
    let end = End::Finished {
        finished,
        took: begun.elapsed(),
    };
    let recorded = record(worker, &lease, end, shutdown).await;
    trace.end(recorded.for_trace());
}

/// Runs the pipeline on a thread of its own and waits for it.
async fn compute(
    worker: &Worker,
    lease: &Lease<Claimed>,
    spec: Spec,
    watch: &Arc<Watch>,
    shutdown: &CancellationToken,
) -> Finished {
    let (done, mut finished) = oneshot::channel();
    let (id, storage, progress) = (
        lease.transfer,
        worker.storage.of(lease.tenant.0),
        Arc::clone(watch),
    );
    let (scratch, cache) = (worker.scratch.clone(), worker.cache.clone());
    let memory = pipeline::memory_limit(worker.settings.memory_bytes);
    let signer = worker.signer.clone();
    let evaluation = evaluation_of(lease)?;
    let span = Span::current();
    let thread = thread::Builder::new()
        .name("transfer".into())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let _named = span.entered();
            let (spec, storage, scratch) = (&spec, &storage, scratch.as_path());
            let (cache, progress) = (cache.as_deref(), progress.as_ref());
            let signer = signer.as_deref();
            let job = Job {
                id: id.0,
                spec,
                storage,
                scratch,
                cache,
                memory,
                signer,
                progress,
            };
            let result = catch_unwind(AssertUnwindSafe(|| work(job, evaluation.as_ref())))
                .unwrap_or_else(|panic| Err(panicked(&*panic)));
            // Nobody waits any more when the process is ending.
            let _ = done.send(result);
        });
    if let Err(error) = thread {
        return Err(internal(
            FailureCode::NoThread,
            format!("no computing thread could start: {error}"),
        ));
    }

    let ended = tokio::select! {
        ended = &mut finished => Some(ended),
        () = shutdown.cancelled() => None,
        () = watch.given_up() => None,
    };

    let ended = if let Some(ended) = ended {
        ended
    } else {
        watch.stop(Stop::HandedBack);
        match time::timeout(SHUTDOWN_GRACE, finished).await {
            Ok(ended) => ended,
            Err(_) => return Err(Failure::Stopped(Stop::HandedBack)),
        }
    };

    ended.unwrap_or_else(|_| {
        Err(internal(
            FailureCode::Crashed,
            "the computing thread vanished".into(),
        ))
    })
}

/// What the external gate says of the result that is staged, if it has said something.
fn evaluation_of(lease: &Lease<Claimed>) -> Result<Option<EvaluationRecord>, Failure> {
    let said = lease
        .evaluation
        .clone()
        .map(serde_json::from_value)
        .transpose();
    said.map_err(|error| internal(FailureCode::UnreadableEvaluation, error.to_string()))
}

/// How an attempt ended.
enum End {
    Finished {
        finished: Finished,
        /// Since it was claimed.
        took: Duration,
    },
    /// The specification is of another version of this program.
    Unreadable(JobError),
}

/// Records the end, and tries again for as long as the database does not answer: whether it is still ours to
/// record is for the lease token to say, not for the time that has passed. An outage thus costs no attempt.
async fn record(
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
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn last_word(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    time::sleep(RECORD_GRACE).await;
}

/// What was recorded of an attempt.
struct Recorded {
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

    fn for_trace(&self) -> traces::Outcome<'_> {
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
    let (database, policy) = (&worker.database, worker.settings.retry_policy());
    let (finished, took) = match end {
        End::Finished { finished, took } => (finished, *took),
        End::Unreadable(error) => {
            let after = attempts::decline(database, lease, error, policy).await?;
            tracing::warn!(
                code = error.code,
                detail = error.detail,
                ?after,
                "left to other versions"
            );
            return Ok(after.map(|after| Recorded::failed(after, error)));
        }
    };

    let (error, may_retry) = match finished {
        Ok(Done::Staged { outcome, gate }) => {
            let held = evaluations::wait(database, lease, outcome, gate).await?;
            return Ok(held.then(|| Recorded::attempt("staged")));
        }
        Ok(Done::Final(outcome)) => {
            let held = attempts::succeed(database, lease, outcome).await?;
            if held {
                histogram!("retune_transfer_seconds", "verdict" => outcome.verdict.name())
                    .record(took.as_secs_f64());
            }
            return Ok(held.then(|| Recorded::last("succeeded")));
        }
        Err(Failure::Stopped(Stop::Cancelled)) => {
            let held = attempts::cancelled(database, lease).await?;
            return Ok(held.then(|| Recorded::last("cancelled")));
        }
        Err(Failure::Stopped(Stop::HandedBack)) => {
            let held = attempts::hand_back(database, lease).await?;
            return Ok(held.then(|| Recorded::attempt("handed_back")));
        }
        Err(Failure::Input {
            code,
            pointer,
            detail,
        }) => (job_error(code.name(), detail, pointer.as_deref()), false),
        Err(Failure::Internal { code, detail }) => (job_error(code.name(), detail, None), true),
    };

    let after = attempts::fail(database, lease, &error, may_retry, policy).await?;
    tracing::warn!(
        code = error.code,
        detail = error.detail,
        ?after,
        "the attempt failed"
    );

    Ok(after.map(|after| Recorded::failed(after, &error)))
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

/// NUL cannot be stored; nothing else about the texts is changed.
fn job_error(code: &str, detail: &str, pointer: Option<&str>) -> JobError {
    JobError {
        code: storable(code),
        detail: storable(detail),
        pointer: pointer.map(storable),
    }
}

fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn internal(code: FailureCode, detail: String) -> Failure {
    Failure::Internal { code, detail }
}

/// A specification queued by another version of this program.
fn unreadable(error: &SpecError) -> JobError {
    let pointer = error.faults.first().map(|fault| &*fault.pointer);
    job_error(error.code.name(), &error.to_string(), pointer)
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Failure {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    internal(
        FailureCode::Panicked,
        format!("the computation stopped on a fault of its own: {said}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_failure_with_its_message() {
        let panic = catch_unwind(|| panic!("shape {}", 3)).unwrap_err();
        assert!(panicked(&*panic).to_string().ends_with("shape 3"));
    }

    #[test]
    fn texts_that_the_database_refuses_are_made_storable() {
        let error = job_error("bad", "name \0 here", Some("/x"));
        assert_eq!(
            (&*error.detail, error.pointer.as_deref()),
            ("name \u{fffd} here", Some("/x"))
        );
    }
}
