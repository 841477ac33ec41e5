//! Figures for Prometheus, all of them below `retune_`.
//!
//! Requests are counted by this process as they come, and what its workers report of their transfers is added to
//! that ([`crate::service::metrics`]). Figures of the queue are the database's, over all tenants: every `serve` of a
//! database tells the same, so that a query takes their `max`, not their sum.
//! They are looked up at each scrape. While the database does not answer, `/metrics` goes on with the last
//! ones known; `retune_database_up` and `retune_figures_age_seconds` say so. Before the first look there are
//! none. Every value of a label stands in every scrape, so that a series never ends at an old value.
//!
//! The path label is the route's template, never the path itself, and a method that nobody knows is `other`:
//! labels must stay few, whatever strangers send.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use metrics::{counter, gauge, histogram};
use tokio::{sync::Mutex, time};

use super::method::known_method;
use crate::service::{
    database::{
        Database,
        figures::{self, Figures, Mark},
    },
    domain::transfers::{AttemptOutcome, Status},
    metrics::recorder,
    state::AppState,
};

/// How long a scrape waits for the database: less than Prometheus waits for us.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// What the last look brought, like the recorder of the whole process. One scrape looks at a time.
static LAST: Mutex<Last> = Mutex::const_new(Last {
    seen: None,
    at: None,
});

#[derive(Debug)]
struct Last {
    /// Up to where attempts are counted.
    seen: Option<Mark>,
    at: Option<Instant>,
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
    text(scrape(&state.database).await)
}

/// The figures of a process that works and serves nothing else: its own alone, none of the queue.
pub fn of_process(database: &Database) -> Response {
    set_pool(database);
    text(recorder().render())
}

fn text(figures: String) -> Response {
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (kind, figures).into_response()
}

/// Sets what is known only when it is asked for, and writes everything before another scrape sets it.
async fn scrape(database: &Database) -> String {
    let mut last = LAST.lock().await;
    let looked = time::timeout(LOOK_LIMIT, figures::look(database, last.seen)).await;
    match looked {
        Ok(Ok(figures)) => {
            set(&figures);
            *last = Last {
                seen: Some(figures.seen),
                at: Some(Instant::now()),
            };
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

    set_pool(database);
    recorder().render()
}

fn set_pool(database: &Database) {
    let idle = database.pool.num_idle();
    let open = usize::try_from(database.pool.size()).unwrap_or(usize::MAX);
    gauge!("retune_database_pool", "state" => "idle").set(float(idle));
    gauge!("retune_database_pool", "state" => "used").set(float(open.saturating_sub(idle)));
}

fn set(figures: &Figures) {
    let transfers: HashMap<_, _> = figures
        .transfers
        .iter()
        .map(|(status, count)| (status.name(), *count))
        .collect();
    for status in Status::ALL {
        let count = transfers.get(status.name()).copied().unwrap_or(0);
        gauge!("retune_transfers", "status" => status.name()).set(float(count));
    }

    for outcome in AttemptOutcome::ALL {
        let count = figures.attempts.get(&outcome).copied().unwrap_or(0);
        let count = u64::try_from(count).unwrap_or(0);
        counter!("retune_attempts_total", "outcome" => outcome.name()).increment(count);
        if outcome == AttemptOutcome::Lost {
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
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count of rows is far below 2^53"
    )]
    let count = count.try_into().unwrap_or(i64::MAX) as f64;
    count
}
