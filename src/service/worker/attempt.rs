//! One attempt at one transfer, from the claim to the end recorded under its lease token.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time};
use tokio_util::sync::CancellationToken;

use super::{Worker, heartbeat::Heartbeat, watch::Watch};
use crate::{
    pipeline::{self, Failure, Job, Outcome, Stop},
    service::{
        database::leases::{self, Lease},
        jobs::JobError,
    },
    spec::{Spec, SpecError},
};

/// How long a computation may take to notice that it should end, once nobody waits for it any more.
const GRACE: Duration = Duration::from_secs(5);
/// Graphs are walked recursively; the default of a thread is too little for deep ones.
const STACK: usize = 16 << 20;

type Finished = Result<Outcome, Failure>;

/// Runs the transfer claimed by a request that was sent at `asked`, and records how it ended.
pub async fn run(worker: &Worker, lease: Lease, asked: Instant, shutdown: &CancellationToken) {
    let watch = Arc::new(Watch::over(asked + worker.settings.lease));
    tracing::info!(transfer = %lease.transfer, attempt = lease.attempt, "started");
    let spec = match Spec::from_json(&lease.spec) {
        Ok(spec) => spec,
        Err(error) => return record(worker, &lease, &watch, Err(unreadable(&error))).await,
    };
    let heartbeat = Heartbeat::start(
        worker.database_url.clone(),
        lease.clone(),
        worker.settings.clone(),
        Arc::clone(&watch),
    );
    let finished = match &heartbeat {
        Ok(_) => compute(worker, &lease, spec, &watch, shutdown).await,
        Err(error) => Err(internal("no_thread", format!("no heartbeat could start: {error}"))),
    };
    record(worker, &lease, &watch, finished).await;
}

/// Runs the pipeline on a thread of its own and waits for it.
async fn compute(
    worker: &Worker,
    lease: &Lease,
    spec: Spec,
    watch: &Arc<Watch>,
    shutdown: &CancellationToken,
) -> Finished {
    let (done, mut finished) = oneshot::channel();
    let (id, storage, progress) =
        (lease.transfer, worker.storage.of(lease.tenant), Arc::clone(watch));
    let (scratch, cache) = (worker.scratch.clone(), worker.cache.clone());
    let thread =
        thread::Builder::new().name("transfer".into()).stack_size(STACK).spawn(move || {
            let (spec, storage, scratch) = (&spec, &storage, scratch.as_path());
            let (cache, progress) = (cache.as_deref(), progress.as_ref());
            let job = Job { id, spec, storage, scratch, cache, progress };
            let run = || pipeline::run(job);
            let result =
                catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(panicked(&*panic)));
            // Nobody waits any more when the process is ending.
            let _ = done.send(result);
        });
    if let Err(error) = thread {
        return Err(internal("no_thread", format!("no computing thread could start: {error}")));
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
        match time::timeout(GRACE, finished).await {
            Ok(ended) => ended,
            Err(_) => return Err(Failure::Stopped(Stop::HandedBack)),
        }
    };
    ended.unwrap_or_else(|_| Err(internal("crashed", "the computing thread vanished".into())))
}

/// Records the end; tries again while the lease holds, and drops what is no longer ours.
async fn record(worker: &Worker, lease: &Lease, watch: &Watch, finished: Finished) {
    loop {
        match write(worker, lease, &finished).await {
            Ok(true) => return,
            Ok(false) => {
                tracing::warn!(transfer = %lease.transfer, "the lease is lost; its new holder decides");
                return;
            }
            Err(error) if Instant::now() < watch.lease_until() => {
                tracing::warn!(%error, transfer = %lease.transfer, "cannot record the end; trying again");
                time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => {
                tracing::error!(%error, transfer = %lease.transfer, "the lease ran out before the end could be recorded");
                return;
            }
        }
    }
}

/// Writes the end under the lease token; false when that is not ours any more.
async fn write(worker: &Worker, lease: &Lease, finished: &Finished) -> Result<bool, sqlx::Error> {
    let database = &worker.database;
    let (error, may_retry) = match finished {
        Ok(outcome) => {
            tracing::info!(transfer = %lease.transfer, verdict = ?outcome.verdict, "finished");
            return leases::succeed(database, lease, outcome).await;
        }
        Err(Failure::Stopped(Stop::Cancelled)) => return leases::cancelled(database, lease).await,
        Err(Failure::Stopped(Stop::HandedBack)) => return leases::hand_back(database, lease).await,
        Err(Failure::Input { code, pointer, detail }) => {
            (job_error(code, detail, pointer.as_deref()), false)
        }
        Err(Failure::Internal { code, detail }) => (job_error(code, detail, None), true),
    };
    let after = leases::fail(database, lease, &error, may_retry, worker.settings.terms()).await?;
    tracing::warn!(
        transfer = %lease.transfer, code = error.code, detail = error.detail, ?after,
        "the attempt failed"
    );
    Ok(after.is_some())
}

/// NUL cannot be stored; nothing else about the texts is changed.
fn job_error(code: &str, detail: &str, pointer: Option<&str>) -> JobError {
    let clean = |text: &str| text.replace('\0', "\u{fffd}");
    JobError { code: clean(code), detail: clean(detail), pointer: pointer.map(clean) }
}

fn internal(code: &'static str, detail: String) -> Failure {
    Failure::Internal { code, detail }
}

/// A specification queued by another version of this program.
fn unreadable(error: &SpecError) -> Failure {
    Failure::Input {
        code: error.code,
        pointer: error.faults.first().map(|fault| fault.pointer.clone()),
        detail: error.to_string(),
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Failure {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    internal("panicked", format!("the computation stopped on a fault of its own: {said}"))
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
        assert_eq!((&*error.detail, error.pointer.as_deref()), ("name \u{fffd} here", Some("/x")));
    }
}
