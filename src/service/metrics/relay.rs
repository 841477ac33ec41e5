//! What a worker process counts, as lines on a pipe to the process that is scraped.

use std::{
    collections::HashMap,
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SetRecorderError, SharedString, Unit, counter, histogram,
};
use serde::{Deserialize, Serialize};

/// Most readings of one histogram that are kept for one writing; what is beyond is dropped, so that a process whose
/// parent does not read stays as small as it was.
const MAX_READINGS: usize = 10_000;

/// A recorder that keeps what is counted until it is written. Gauges are not kept: they say how one process is, and
/// several processes write to one parent.
#[derive(Clone, Debug, Default)]
pub struct Relay {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    counted: HashMap<Key, u64>,
    measured: HashMap<Key, Vec<f64>>,
}

/// One line: a series, and what has come to it since the last one.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    name: String,
    labels: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "is_zero")]
    counted: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    measured: Vec<f64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Relay {
    /// A relay that gets what this process counts from now on.
    ///
    /// # Errors
    /// When the process has a recorder already.
    pub fn install() -> Result<Self, SetRecorderError<Self>> {
        let relay = Self::default();
        metrics::set_global_recorder(relay.clone())?;
        Ok(relay)
    }

    /// Writes what has been counted since the last call, a line for each series.
    ///
    /// # Errors
    /// When nobody reads any more; what was to be written is lost.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let Kept { counted, measured } =
            mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        let counted = counted
            .iter()
            .map(|(key, count)| Line::of(key, *count, Vec::new()));
        let measured = measured
            .into_iter()
            .map(|(key, readings)| Line::of(&key, 0, readings));

        for line in counted.chain(measured) {
            serde_json::to_writer(&mut *to, &line)?;
            to.write_all(b"\n")?;
        }
        to.flush()
    }
}

impl Line {
    fn of(key: &Key, counted: u64, measured: Vec<f64>) -> Self {
        let labels = key
            .labels()
            .map(|label| (label.key().to_owned(), label.value().to_owned()));
        Self {
            name: key.name().to_owned(),
            labels: labels.collect(),
            counted,
            measured,
        }
    }
}

/// Adds a line of a [`Relay`] to what this process has counted. What is no such line is passed over.
pub fn replay(line: &str) {
    let Ok(line) = serde_json::from_str::<Line>(line) else {
        tracing::debug!("a worker wrote a line that is no figure");
        return;
    };

    let Line {
        name,
        labels,
        counted,
        measured,
    } = line;
    if counted > 0 {
        counter!(name.clone(), &labels).increment(counted);
    }
    if !measured.is_empty() {
        let series = histogram!(name, &labels);
        measured
            .into_iter()
            .for_each(|reading| series.record(reading));
    }
}

/// One series of a relay.
struct Series {
    relay: Relay,
    key: Key,
}

impl CounterFn for Series {
    fn increment(&self, value: u64) {
        if value > 0 {
            let mut kept = self
                .relay
                .kept
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *kept.counted.entry(self.key.clone()).or_default() += value;
        }
    }

    /// Nothing of ours is counted so.
    fn absolute(&self, _value: u64) {}
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        let mut kept = self
            .relay
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let readings = kept.measured.entry(self.key.clone()).or_default();
        if readings.len() < MAX_READINGS {
            readings.push(value);
        }
    }
}

impl Recorder for Relay {
    fn describe_counter(&self, _key: KeyName, _unit: Option<Unit>, _description: SharedString) {}

    fn describe_gauge(&self, _key: KeyName, _unit: Option<Unit>, _description: SharedString) {}

    fn describe_histogram(&self, _key: KeyName, _unit: Option<Unit>, _description: SharedString) {}

    fn register_counter(&self, key: &Key, _metadata: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(Series {
            relay: self.clone(),
            key: key.clone(),
        }))
    }

    fn register_gauge(&self, _key: &Key, _metadata: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _metadata: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Series {
            relay: self.clone(),
            key: key.clone(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    /// What is written in one go.
    fn written(relay: &Relay) -> String {
        let mut written = Vec::new();
        relay.write(&mut written).unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn what_one_process_counts_another_shows() {
        let relay = Relay::default();
        metrics::with_local_recorder(&relay, || {
            counter!("retune_requests_total", "outcome" => "ok").increment(2);
            counter!("retune_requests_total", "outcome" => "ok").increment(1);
            counter!("retune_requests_total", "outcome" => "failed").increment(0);
            histogram!("retune_seconds").record(0.5);
            histogram!("retune_seconds").record(1.5);
        });
        let lines = written(&relay);
        assert_eq!(lines.lines().count(), 2, "{lines}");
        assert_eq!(written(&relay), "", "nothing is written twice");

        let shown = PrometheusBuilder::new()
            .set_buckets(&[1.0])
            .unwrap()
            .build_recorder();
        metrics::with_local_recorder(&shown, || {
            lines.lines().for_each(replay);
            lines.lines().for_each(replay);
            replay("no figure");
        });
        let shown = shown.handle().render();
        for series in [
            r#"retune_requests_total{outcome="ok"} 6"#,
            r#"retune_seconds_bucket{le="1"} 2"#,
            "retune_seconds_count 4",
            "retune_seconds_sum 4",
        ] {
            assert!(
                shown.lines().any(|line| line == series),
                "{series}\n{shown}"
            );
        }
    }

    #[test]
    fn a_parent_that_does_not_read_costs_no_more_than_so_much() {
        let relay = Relay::default();
        metrics::with_local_recorder(&relay, || {
            let series = histogram!("retune_seconds");
            (0..2 * MAX_READINGS).for_each(|_| series.record(1.0));
        });
        let line: Line = serde_json::from_str(&written(&relay)).unwrap();
        assert_eq!(line.measured.len(), MAX_READINGS);
    }
}
