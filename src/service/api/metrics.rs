//! Figures for Prometheus, all of them below `retune_`.
//!
//! Requests are counted by this process as they come. Figures of the queue are the database's, over all
//! tenants: every `serve` of a database tells the same, so that a query takes their `max`, not their sum.
//! They are looked up at each scrape. While the database does not answer, `/metrics` goes on with the last
//! ones known; `retune_database_up` and `retune_figures_age_seconds` say so. Before the first look there are
//! none. Every value of a label stands in every scrape, so that a series never ends at an old value.
//!
//! The path label is the route's template, never the path itself, and a method that nobody knows is `other`:
//! labels must stay few, whatever strangers send.

use std::{
    collections::HashMap,
    sync::OnceLock,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{sync::Mutex, time};

use super::method::known_method;
use crate::service::{
    database::{
        Database,
        figures::{self, Figures, Mark, OUTCOMES},
    },
    domain::transfers::Status,
    state::AppState,
};

/// Upper bounds of the latency histogram, in seconds.
const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// How long a scrape waits for the database: less than Prometheus waits for us.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// What becomes of a delivery's attempt, and of a look at what was announced.
const DELIVERIES: [&str; 4] = ["delivered", "failed", "lost", "unrecorded"];
const LOOKS: [&str; 6] = ["registered", "known", "put_off", "failed", "lost", "unrecorded"];

/// What the last look brought, like the recorder of the whole process. One scrape looks at a time.
static LAST: Mutex<Last> = Mutex::const_new(Last { seen: None, at: None });

#[derive(Debug)]
struct Last {
    /// Up to where attempts are counted.
    seen: Option<Mark>,
    at: Option<Instant>,
}

/// The process-wide recorder, installed at the first call.
pub fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        let recorder = match builder.set_buckets(&BUCKETS) {
            Ok(builder) => builder.build_recorder(),
            Err(_) => PrometheusBuilder::new().build_recorder(),
        };
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of figures is installed; /metrics stays empty");
        }
        describe();
        begin();
        handle
    })
}

/// What stands from the first scrape on.
fn begin() {
    gauge!("retune_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    for outcome in DELIVERIES {
        counter!("retune_webhook_attempts_total", "outcome" => outcome).increment(0);
    }
    for outcome in LOOKS {
        counter!("retune_arrival_looks_total", "outcome" => outcome).increment(0);
    }
}

/// The help of each family.
fn describe() {
    describe_counter!("retune_http_requests_total", "Requests answered by this process.");
    describe_histogram!(
        "retune_http_request_seconds",
        "Seconds from a request to the head of its answer."
    );

    describe_gauge!("retune_build_info", "The version of this program; always 1.");
    describe_gauge!("retune_database_up", "Whether the database answered at this scrape.");
    describe_gauge!(
        "retune_database_pool",
        "Connections of this process to the database, by state."
    );

    describe_gauge!(
        "retune_figures_age_seconds",
        "Seconds since the database gave the figures of the queue; growing while it does not answer."
    );

    describe_gauge!("retune_transfers", "Of the queue: transfers by status.");
    describe_gauge!(
        "retune_oldest_queued_seconds",
        "Of the queue: for how long the first transfer that a worker could take has waited; 0 without one."
    );

    describe_gauge!("retune_workers", "Of the queue: worker processes seen lately, by state.");
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

    describe_counter!(
        "retune_webhook_attempts_total",
        "Attempts of this process to deliver a webhook, by outcome."
    );

    describe_counter!(
        "retune_arrival_looks_total",
        "Looks of this process at an announced base, by outcome."
    );
}

/// Counts and times one request.
pub async fn record(request: Request, next: Next) -> Response {
    let method = known_method(request.method());
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());

    let begun = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    histogram!("retune_http_request_seconds", "method" => method, "path" => path.clone())
        .record(begun.elapsed().as_secs_f64());
    counter!("retune_http_requests_total", "method" => method, "path" => path, "status" => status)
        .increment(1);
    response
}

/// Figures in Prometheus' text format. Answered without the database too, with the last figures known.
///
/// Open to every caller: they name no tenant.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "service",
    operation_id = "metrics",
    responses((status = 200, body = String, content_type = "text/plain", description = "Figures"))
)]
pub async fn show(State(state): State<AppState>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, scrape(&state.database).await).into_response()
}

/// Sets what is known only when it is asked for, and writes everything before another scrape sets it.
async fn scrape(database: &Database) -> String {
    let mut last = LAST.lock().await;
    let looked = time::timeout(LOOK_LIMIT, figures::look(database, last.seen)).await;
    match looked {
        Ok(Ok(figures)) => {
            set(&figures);
            *last = Last { seen: Some(figures.seen), at: Some(Instant::now()) };
            gauge!("retune_database_up").set(1.0);
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "the figures of the queue are old");
            gauge!("retune_database_up").set(0.0);
        }
        Err(_) => gauge!("retune_database_up").set(0.0),
    }
    if let Some(at) = last.at {
        gauge!("retune_figures_age_seconds").set(at.elapsed().as_secs_f64());
    }

    let idle = database.pool.num_idle();
    let open = usize::try_from(database.pool.size()).unwrap_or(usize::MAX);
    gauge!("retune_database_pool", "state" => "idle").set(float(idle));
    gauge!("retune_database_pool", "state" => "used").set(float(open.saturating_sub(idle)));
    recorder().render()
}

fn set(figures: &Figures) {
    let transfers: HashMap<_, _> =
        figures.transfers.iter().map(|(status, count)| (status.name(), *count)).collect();
    for status in Status::ALL {
        let count = transfers.get(status.name()).copied().unwrap_or(0);
        gauge!("retune_transfers", "status" => status.name()).set(float(count));
    }

    for outcome in OUTCOMES {
        let count = figures.attempts.get(outcome).copied().unwrap_or(0);
        let count = u64::try_from(count).unwrap_or(0);
        counter!("retune_attempts_total", "outcome" => outcome).increment(count);
        if outcome == "lost" {
            counter!("retune_lease_losses_total").increment(count);
        }
    }

    let waiting = figures.waiting;
    gauge!("retune_oldest_queued_seconds").set(waiting.oldest_queued_seconds);
    gauge!("retune_workers", "state" => "busy").set(float(waiting.workers_busy));
    gauge!("retune_workers", "state" => "idle").set(float(waiting.workers_idle));
    gauge!("retune_webhook_deliveries_waiting").set(float(waiting.deliveries));
    gauge!("retune_webhook_lag_seconds").set(waiting.webhook_lag_seconds);
    gauge!("retune_arrivals_waiting").set(float(waiting.arrivals));
}

/// A count as Prometheus has it; exact far beyond any count of rows.
fn float(count: impl TryInto<i64>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
    let count = count.try_into().unwrap_or(i64::MAX) as f64;
    count
}
