//! Figures for Prometheus: requests and their seconds by route, transfers by status.
//!
//! The path label is the route's template, never the path itself, and a method that nobody knows is `other`:
//! labels must stay few, whatever strangers send.

use std::{sync::OnceLock, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::{layers, problem::Problem};
use crate::service::{database, state::AppState};

/// Upper bounds of the latency histogram, in seconds.
const BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0];

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
        handle
    })
}

/// Counts and times one request.
pub async fn record(request: Request, next: Next) -> Response {
    let method = layers::known_method(request.method());
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let begun = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    histogram!("retune_http_request_duration_seconds", "method" => method, "path" => path.clone())
        .record(begun.elapsed().as_secs_f64());
    counter!("retune_http_requests_total", "method" => method, "path" => path, "status" => status)
        .increment(1);
    response
}

/// Figures in Prometheus' text format.
///
/// Open to every caller: they name no tenant.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "service",
    operation_id = "metrics",
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "Figures"),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show(State(state): State<AppState>) -> Result<Response, Problem> {
    for (status, count) in database::transfers::count_by_status(&state.database).await? {
        #[expect(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
        gauge!("retune_transfers", "status" => status.name()).set(count as f64);
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, recorder().render()).into_response())
}
