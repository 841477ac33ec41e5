//! One attempt at one transfer, from the claim to the end recorded under its lease token.
//!
//! Every line that is logged on the way, on whatever thread of ours, stands in a span that names the transfer.

mod compute;
mod record;

use std::{sync::Arc, time::Instant};

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::{
    compute::compute,
    record::{End, record},
};
use super::{Worker, heartbeat::Heartbeat, watch::Watch};
use crate::{
    contract::{
        codes::FailureCode,
        spec::{ExternalGate, Spec, SpecError},
    },
    pipeline::{Failure, Outcome},
    service::{
        database::transfers::leases::Claimed,
        domain::{leases::Lease, transfers::JobError},
    },
    telemetry::traces,
};

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

    let heartbeat = Heartbeat::start(worker, lease.clone(), Arc::clone(&watch));

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_the_database_refuses_are_made_storable() {
        let error = job_error("bad", "name \0 here", Some("/x"));
        assert_eq!(
            (&*error.detail, error.pointer.as_deref()),
            ("name \u{fffd} here", Some("/x"))
        );
    }
}
