//! The figures of a process: where they are gathered, and how they come to whoever is scraped.
//!
//! Code counts through the facade of the crate `metrics`. A process that is scraped installs a [`recorder`]. A worker
//! process of `serve` is not scraped: it writes what it counts as lines to its standard output ([`Relay`]), every
//! second and at its end, and `serve` adds them to its own ([`replay`]). What a worker counted since its last line is
//! lost if it is killed. A command that neither serves nor is a worker counts for nobody.

mod families;
mod relay;

use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

pub use relay::{Relay, replay};

/// Upper bounds of the histograms of requests, in seconds.
const REQUEST_BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

/// Upper bounds of the histograms of work and of waiting for it, in seconds: up to a day.
const WORK_BUCKETS: [f64; 13] = [
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0,
];

/// Histograms that have [`WORK_BUCKETS`].
const OF_WORK: [&str; 3] = [
    "retune_claim_latency_seconds",
    "retune_phase_seconds",
    "retune_transfer_seconds",
];

/// The process-wide recorder, installed at the first call.
pub fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let recorder = with_buckets().unwrap_or_default().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of figures is installed; /metrics stays empty");
        }

        families::describe();
        families::begin();
        handle
    })
}

fn with_buckets() -> Result<PrometheusBuilder, BuildError> {
    let builder = PrometheusBuilder::new().set_buckets(&REQUEST_BUCKETS)?;
    OF_WORK.into_iter().try_fold(builder, |builder, name| {
        builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), &WORK_BUCKETS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_of_work_stands_from_the_first_scrape_on() {
        let recorder = with_buckets().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            families::describe();
            families::begin();
        });
        let figures = handle.render();
        for series in [
            "retune_sample_gradients_total 0",
            "retune_claim_latency_seconds_count 0",
            r#"retune_claim_latency_seconds_bucket{le="86400"} 0"#,
            r#"retune_phase_seconds_count{phase="fine_tuning"} 0"#,
            r#"retune_transfer_seconds_count{verdict="rejected"} 0"#,
            r#"retune_storage_seconds_count{operation="get"} 0"#,
            r#"retune_storage_requests_total{operation="put_part",outcome="failed"} 0"#,
        ] {
            assert!(
                figures.lines().any(|line| line == series),
                "{series}\n{figures}"
            );
        }
        for family in figures
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
        {
            let name = family.split(' ').next().unwrap();
            assert!(
                figures.contains(&format!("# HELP {name} ")),
                "{name} has no help"
            );
        }
    }
}
