//! What a page shows of `report.json`. Absent or unexpected parts are not shown; none is an error,
//! so that reports of other versions can be looked at.

mod candidates;
mod cost;
mod lines;

use super::curve::{self, Curve};
use crate::{contract::report, service::dashboard::format};

pub use candidates::{Candidate, Rung};

/// The parts of a report on a page.
pub struct Report {
    /// What was found, and what to do next; empty in reports of older versions.
    pub sentence: String,
    pub next_step: String,
    pub checked_on: String,
    pub price: String,
    pub reasons: Vec<String>,
    pub warnings: Vec<String>,
    pub gate: Vec<Condition>,
    pub ladder: Vec<Rung>,
    /// `accuracy` or `agreement`.
    pub measure: &'static str,
    pub curve: Option<Curve>,
    pub candidates: Vec<Candidate>,
    pub baselines: Vec<Entry>,
    pub cost: Vec<Entry>,
}

/// A condition of the gate.
pub struct Condition {
    pub name: String,
    pub bound: String,
    pub value: String,
    pub passed: bool,
}

/// A named figure.
pub struct Entry {
    pub name: String,
    pub value: String,
}

impl Report {
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let report = report::Report::from_json(bytes).ok()?;
        let baselines = lines::baselines(&report.baselines);

        Some(Self {
            sentence: report.decision.sentence.clone(),
            next_step: report.decision.next_step.clone(),
            checked_on: report.decision.checked_on.clone(),
            price: report.decision.price.clone(),
            reasons: report.recommendation.reasons.clone(),
            warnings: report.warnings.clone(),
            gate: report.gate.iter().map(condition).collect(),
            ladder: report
                .ladder
                .iter()
                .flatten()
                .map(|rung| candidates::rung(rung, &report))
                .collect(),
            measure: measure(&report),
            curve: curve::draw(&lines::series(&report.candidates), &baselines),
            candidates: report
                .candidates
                .iter()
                .map(|one| candidates::candidate(one, &report))
                .chain(candidates::fine_tuned(&report))
                .collect(),
            baselines: baselines
                .into_iter()
                .map(|(name, value)| Entry {
                    name,
                    value: format::percent(Some(value)),
                })
                .collect(),
            cost: cost::cost(&report),
        })
    }
}

/// What validation says.
fn measure(report: &report::Report) -> &'static str {
    let measured = report.metrics.measured.as_ref();
    if report.splits.lacks_labels("validation") {
        "agreement"
    } else if measured.is_some_and(|measured| measured.r2.is_some()) {
        "R²"
    } else {
        "accuracy"
    }
}

fn condition(check: &report::GateCheck) -> Condition {
    Condition {
        name: format::words(&check.condition),
        bound: format::figure(Some(check.bound)),
        value: format::figure(Some(check.value)),
        passed: check.passed,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a report")]
    fn a_report_is_shown_as_far_as_it_goes() {
        let report = json!({
            "candidates": [
                {"method": "identity", "validation": {"accuracy": 0.5, "loss": 1.5}, "test": null, "step": 2, "alpha": 1.0},
                {"method": "fgmt", "validation": {"accuracy": 0.9}, "test": {"accuracy": 0.88}, "step": 2,
                 "steps": [{"step": 1, "accuracy": 0.6}, {"step": 2, "accuracy": 0.9}, {"step": 3}]}
            ],
            "baselines": {"source_tuned": {"accuracy": 0.95}, "target_before": {}},
            "winner": "fgmt",
            "warnings": ["few samples"],
            "gate": [{"condition": "min", "bound": 0.9, "value": 0.88, "passed": false}],
            "ladder": [{"method": "identity", "taken": true, "reason": "cheap", "validation_accuracy": 0.5,
                        "sample_gradients": 0, "sample_forwards": 10},
                       {"method": "gmt", "taken": false, "reason": "no need"}],
            "recommendation": {"action": "transfer", "reasons": ["because", 3]},
            "timing": {"phases": {"aligning": 2.0}, "methods": {"fgmt": 1.25}},
            "cost": {"sample_gradients": 2560, "peak_memory_bytes": 2_000_000, "fine_tuning": {"seconds": 3.0}}
        });
        let report = Report::read(report.to_string().as_bytes()).unwrap();
        assert_eq!(report.reasons, ["because"]);
        assert_eq!(report.warnings, ["few samples"]);
        let gate = &report.gate[0];
        assert_eq!(
            (gate.bound.as_str(), gate.value.as_str(), gate.passed),
            ("0.9", "0.88", false)
        );
        let rungs: Vec<_> = report
            .ladder
            .iter()
            .map(|rung| (rung.validation.as_str(), rung.taken))
            .collect();
        assert_eq!(rungs, [("50.0 %", true), ("–", false)]);
        assert_eq!(
            report
                .candidates
                .iter()
                .map(|one| one.winner)
                .collect::<Vec<_>>(),
            [false, true]
        );
        assert_eq!(
            (
                report.candidates[0].test.as_str(),
                report.candidates[1].test.as_str()
            ),
            ("–", "88.0 %")
        );
        assert_eq!(report.candidates[1].seconds, "1.2 s");
        let curve = report.curve.unwrap();
        assert_eq!(
            curve
                .series
                .iter()
                .map(|one| one.dots.len())
                .collect::<Vec<_>>(),
            [1, 2]
        );
        assert_eq!(curve.baselines.len(), 1);
        let cost: Vec<_> = report
            .cost
            .iter()
            .map(|e| format!("{}={}", e.name, e.value))
            .collect();

        assert_eq!(
            cost,
            [
                "aligning=2.0 s",
                "sample gradients=2\u{a0}560",
                "peak memory bytes=2.0 MB",
                "fine tuning seconds=3.0 s"
            ]
        );
    }

    #[test]
    fn the_fine_tuned_winner_has_a_row_of_its_own() {
        let report = json!({
            "candidates": [{"method": "fgmt"}], "timing": {"fine_tune_seconds": 2.0},
            "fine_tune": {"validation": {"accuracy": 0.5}, "test": {"accuracy": 0.25}, "sample_gradients": 7}
        });
        let report = Report::read(report.to_string().as_bytes()).unwrap();
        let row = &report.candidates[1];
        assert_eq!(
            (
                row.method.as_str(),
                row.accuracy.as_str(),
                row.test.as_str()
            ),
            ("+ fine-tuning", "50.0 %", "25.0 %")
        );
        assert_eq!(
            (row.sample_gradients.as_str(), row.seconds.as_str()),
            ("7", "2.0 s")
        );

        let one_point = json!({"candidates": [{"method": "identity", "step": 3, "validation": {"accuracy": 0.5}}]});
        let one_point = Report::read(one_point.to_string().as_bytes()).unwrap();

        assert!(one_point.curve.is_none(), "a point is no line");
    }

    #[test]
    fn an_unknown_report_shows_nothing_and_breaks_nothing() {
        let text = "{\"candidates\": [3, {}], \"cost\": 1, \"winner\": []}";
        let report = Report::read(text.as_bytes()).unwrap();
        assert!(report.curve.is_none() && report.cost.is_empty(), "{text}");
        for text in ["{", "{}", "[]", "3"] {
            assert!(Report::read(text.as_bytes()).is_none(), "{text}");
        }
    }
}
