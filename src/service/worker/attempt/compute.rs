//! The pipeline, on a thread of its own.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    sync::oneshot::{self, Receiver},
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{Done, Finished, internal};
use crate::{
    contract::{codes::FailureCode, evaluation::EvaluationRecord, spec::Spec},
    pipeline::{self, Failure, Job, Staged, Stop},
    service::{
        database::transfers::leases::Claimed,
        domain::leases::Lease,
        worker::{Worker, watch::Watch},
    },
};

/// How long a computation may take to notice that it should end, once nobody waits for it any more.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// Graphs are walked recursively; the default of a thread is too little for deep ones.
const STACK_BYTES: usize = 16 << 20;

/// Runs the pipeline on a thread of its own and waits for it.
pub(super) async fn compute(
    worker: &Worker,
    lease: &Lease<Claimed>,
    spec: Spec,
    watch: &Arc<Watch>,
    shutdown: &CancellationToken,
) -> Finished {
    let evaluation = evaluation_of(lease)?;
    let mut finished = start(worker, lease, spec, watch, evaluation).map_err(|error| {
        internal(
            FailureCode::NoThread,
            format!("no computing thread could start: {error}"),
        )
    })?;

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

/// Starts the thread; what it says at its end. Nothing comes where it vanishes.
fn start(
    worker: &Worker,
    lease: &Lease<Claimed>,
    spec: Spec,
    watch: &Arc<Watch>,
    evaluation: Option<EvaluationRecord>,
) -> io::Result<Receiver<Finished>> {
    let (done, finished) = oneshot::channel();
    let (id, storage, progress) = (
        lease.transfer,
        worker.storage.of(lease.tenant.0),
        Arc::clone(watch),
    );
    let (scratch, cache) = (worker.scratch.clone(), worker.cache.clone());
    let memory = pipeline::memory_limit(worker.settings.memory_bytes);
    let signer = worker.signer.clone();
    let span = Span::current();
    thread::Builder::new()
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
        })?;

    Ok(finished)
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

/// What the external gate says of the result that is staged, if it has said something.
fn evaluation_of(lease: &Lease<Claimed>) -> Result<Option<EvaluationRecord>, Failure> {
    let said = lease
        .evaluation
        .clone()
        .map(serde_json::from_value)
        .transpose();
    said.map_err(|error| internal(FailureCode::UnreadableEvaluation, error.to_string()))
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
}
