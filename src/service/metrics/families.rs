//! The families of figures: their help, and the series that stand from the first scrape on.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::{
    contract::outcome::{Phase, Verdict},
    storage::requests,
};

/// What becomes of a delivery's attempt, and of a look at what was announced.
const DELIVERIES: [&str; 4] = ["delivered", "failed", "lost", "unrecorded"];
const LOOKS: [&str; 6] = [
    "registered",
    "known",
    "put_off",
    "failed",
    "lost",
    "unrecorded",
];

/// Every value of a label stands in every scrape, so that a series neither begins nor ends in between.
pub(super) fn begin() {
    gauge!("retune_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    for outcome in DELIVERIES {
        counter!("retune_webhook_attempts_total", "outcome" => outcome).increment(0);
    }
    for outcome in LOOKS {
        counter!("retune_arrival_looks_total", "outcome" => outcome).increment(0);
    }

    begin_work();
    begin_storage();
}

/// What workers count. A histogram that is only named has a count of zero.
fn begin_work() {
    counter!("retune_sample_gradients_total").increment(0);
    let _ = histogram!("retune_claim_latency_seconds");
    for phase in Phase::ALL {
        let _ = histogram!("retune_phase_seconds", "phase" => phase.name());
    }
    for verdict in Verdict::ALL {
        let _ = histogram!("retune_transfer_seconds", "verdict" => verdict.name());
    }
}

fn begin_storage() {
    for operation in requests::Operation::ALL {
        let _ = histogram!("retune_storage_seconds", "operation" => operation.name());
        for outcome in requests::OUTCOMES {
            counter!(
                "retune_storage_requests_total",
                "operation" => operation.name(), "outcome" => outcome
            )
            .increment(0);
        }
    }
}

/// The help of each family.
pub(super) fn describe() {
    describe_process();
    describe_queue();
    describe_work();
}

fn describe_process() {
    describe_counter!(
        "retune_http_requests_total",
        "Requests answered by this process."
    );
    describe_histogram!(
        "retune_http_request_seconds",
        "Seconds from a request to the head of its answer."
    );
    describe_gauge!(
        "retune_build_info",
        "The version of this program; always 1."
    );
    describe_gauge!(
        "retune_database_up",
        "Whether the database answered at this scrape."
    );
    describe_gauge!(
        "retune_database_pool",
        "Connections of this process to the database, by state."
    );
}

fn describe_queue() {
    describe_gauge!(
        "retune_figures_age_seconds",
        "Seconds since the database gave the figures of the queue; growing while it does not answer."
    );
    describe_gauge!("retune_transfers", "Of the queue: transfers by status.");
    describe_gauge!(
        "retune_oldest_queued_seconds",
        "Of the queue: for how long the first transfer that a worker could take has waited; 0 without one."
    );
    describe_gauge!(
        "retune_workers",
        "Of the queue: worker processes seen lately, by state."
    );
    describe_gauge!(
        "retune_webhook_deliveries_waiting",
        "Of the queue: webhook deliveries that are still to be made."
    );
    describe_gauge!(
        "retune_webhook_lag_seconds",
        "Of the queue: for how long the first delivery that is due has been due; 0 without one."
    );
    describe_gauge!(
        "retune_arrivals_waiting",
        "Of the queue: announced bases still to be looked at."
    );
    describe_counter!(
        "retune_attempts_total",
        "Of the queue: attempts at transfers that ended since this process started, by outcome."
    );
    describe_counter!(
        "retune_lease_losses_total",
        "Of the queue: leases that ran out since this process started; attempts with the outcome lost."
    );
}

fn describe_work() {
    describe_counter!(
        "retune_webhook_attempts_total",
        "Attempts of this process to deliver a webhook, by outcome."
    );
    describe_counter!(
        "retune_arrival_looks_total",
        "Looks of this process at an announced base, by outcome."
    );
    describe_histogram!(
        "retune_claim_latency_seconds",
        "Seconds from when a transfer was due until a worker of this process claimed it."
    );
    describe_histogram!(
        "retune_phase_seconds",
        "Seconds that workers of this process spent in a phase, each time that they were in it."
    );
    describe_histogram!(
        "retune_transfer_seconds",
        "Seconds of the attempts of this process's workers that ended in a result, by verdict."
    );
    describe_counter!(
        "retune_sample_gradients_total",
        "Sample gradients in the work of this process's workers, with those that an earlier attempt had left."
    );
    describe_counter!(
        "retune_storage_requests_total",
        "Requests of this process and its workers to object stores, by operation and outcome."
    );
    describe_histogram!(
        "retune_storage_seconds",
        "Seconds from a request to an object store to the head of its answer, by operation."
    );
}
