//! What a page shows of `report.json`. Absent or unexpected parts are not shown; none is an error,
//! so that reports of other versions can be looked at.

use serde_json::{Value, json};

use super::curve::{self, Curve};
use crate::{
    contract::report::{self, Baselines, Scores},
    service::dashboard::format,
};

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
    pub ledger: Vec<Entry>,
}

/// A row of the candidates' table.
pub struct Candidate {
    pub method: String,
    pub winner: bool,
    pub accuracy: String,
    pub loss: String,
    pub test: String,
    pub step: String,
    pub alpha: String,
    pub sample_gradients: String,
    pub seconds: String,
}

/// A condition of the gate.
pub struct Condition {
    pub name: String,
    pub bound: String,
    pub value: String,
    pub passed: bool,
}

/// A method that `auto` took or passed over.
pub struct Rung {
    pub method: String,
    pub taken: bool,
    pub reason: String,
    pub validation: String,
    pub sample_gradients: String,
    pub seconds: String,
}

/// A named figure.
pub struct Entry {
    pub name: String,
    pub value: String,
}

impl Report {
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let report = report::Report::from_json(bytes).ok()?;
        let baselines = baselines(&report.baselines);
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
                .map(|rung| self::rung(rung, &report))
                .collect(),
            measure: if report.splits.lacks_labels("validation") {
                "agreement"
            } else {
                "accuracy"
            },
            curve: curve::draw(&series(&report.candidates), &baselines),
            candidates: report
                .candidates
                .iter()
                .map(|one| candidate(one, &report))
                .chain(fine_tuned(&report))
                .collect(),
            baselines: baselines
                .into_iter()
                .map(|(name, value)| Entry {
                    name,
                    value: format::percent(Some(value)),
                })
                .collect(),
            ledger: ledger(&report),
        })
    }
}

fn method(candidate: &report::Candidate) -> &str {
    candidate.method.as_deref().unwrap_or("?")
}

fn accuracy(scores: Option<&Scores>) -> String {
    format::percent(scores.and_then(Scores::share))
}

fn loss(scores: Option<&Scores>) -> String {
    format::figure(scores.and_then(|scores| scores.loss))
}

fn count(value: Option<u64>) -> String {
    format::figure(value.map(|value| value as f64))
}

fn condition(check: &report::GateCheck) -> Condition {
    Condition {
        name: format::words(&check.condition),
        bound: format::figure(Some(check.bound)),
        value: format::figure(Some(check.value)),
        passed: check.passed,
    }
}

fn rung(step: &report::LadderStep, report: &report::Report) -> Rung {
    let seconds = report
        .timing
        .methods
        .get(&step.method)
        .copied()
        .filter(|_| step.taken);
    let validation = step.validation_accuracy.or(step.validation_agreement);
    Rung {
        method: format::words(&step.method),
        taken: step.taken,
        reason: step.reason.clone(),
        validation: format::percent(validation),
        sample_gradients: if step.taken {
            count(Some(step.sample_gradients))
        } else {
            format::ABSENT.into()
        },
        seconds: seconds.map_or(format::ABSENT.into(), format::seconds),
    }
}

fn candidate(one: &report::Candidate, report: &report::Report) -> Candidate {
    let seconds = report.timing.methods.get(method(one)).copied();
    Candidate {
        method: format::words(method(one)),
        winner: report.winner == method(one),
        accuracy: accuracy(one.validation.as_ref()),
        loss: loss(one.validation.as_ref()),
        test: accuracy(one.test.as_ref()),
        step: format::figure(one.step.map(|step| step as f64)),
        alpha: format::figure(one.alpha),
        sample_gradients: count(one.sample_gradients),
        seconds: seconds.map_or(format::ABSENT.into(), format::seconds),
    }
}

/// The winner after its short training, where there was one.
fn fine_tuned(report: &report::Report) -> Option<Candidate> {
    let tuned = report.fine_tune.as_ref()?;
    let seconds = report.timing.fine_tune_seconds;
    Some(Candidate {
        method: "+ fine-tuning".to_owned(),
        winner: false,
        accuracy: accuracy(tuned.validation.as_ref()),
        loss: loss(tuned.validation.as_ref()),
        test: accuracy(tuned.test.as_ref()),
        step: String::new(),
        alpha: String::new(),
        sample_gradients: count(tuned.sample_gradients),
        seconds: seconds.map_or(format::ABSENT.into(), format::seconds),
    })
}

/// Accuracy by step; a candidate without steps is one point. Nothing, where all are points: the table has
/// them.
fn series(candidates: &[report::Candidate]) -> Vec<curve::Given> {
    let series: Vec<curve::Given> = candidates
        .iter()
        .map(|one| {
            let chosen = one.step.map(|step| step as f64);
            let mut points: Vec<(f64, f64)> = one
                .steps
                .iter()
                .filter_map(|step| Some((step.step? as f64, step.share()?)))
                .collect();
            if points.is_empty() {
                let accuracy = one.validation.as_ref().and_then(Scores::share);
                points.extend(chosen.zip(accuracy));
            }
            curve::Given {
                name: format::words(method(one)),
                points,
                chosen,
            }
        })
        .filter(|given| !given.points.is_empty())
        .collect();

    if series.iter().any(|given| given.points.len() > 1) {
        series
    } else {
        Vec::new()
    }
}

/// The curve shows validation; so should the lines it is measured against.
fn baselines(baselines: &Baselines) -> Vec<(String, f64)> {
    let Baselines {
        source_tuned,
        target_before,
        few_shot,
        fine_tune_only,
        without_pull,
    } = baselines;
    let standing = [
        ("source_tuned", source_tuned),
        ("target_before", target_before),
    ]
    .map(|(name, one)| (name, one.as_ref().map(|one| (&one.validation, one.share()))));
    let trained = [
        ("few_shot", few_shot),
        ("fine_tune_only", fine_tune_only),
        ("without_pull", without_pull),
    ]
    .map(|(name, one)| {
        (
            name,
            one.as_ref().map(|one| (&one.validation, one.accuracy)),
        )
    });
    standing
        .into_iter()
        .chain(trained)
        .filter_map(|(name, figures)| {
            let (validation, test) = figures?;
            let validation = validation.as_ref().and_then(Scores::share);
            Some((format::words(name), validation.or(test)?))
        })
        .collect()
}

/// Seconds by phase, then every other figure of the cost, one level deep.
fn ledger(report: &report::Report) -> Vec<Entry> {
    let phases = report.timing.phases.iter();
    let mut entries: Vec<Entry> = phases
        .map(|(name, seconds)| Entry {
            name: format::words(name),
            value: format::seconds(*seconds),
        })
        .collect();
    if let Value::Object(cost) = json!(report.cost) {
        for (name, value) in &cost {
            flatten(name, value, &mut entries);
        }
    }

    entries
}

fn flatten(name: &str, value: &Value, entries: &mut Vec<Entry>) {
    let shown = match value {
        Value::Number(number) => quantity(name, number.as_f64()),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Object(inner) => {
            for (key, value) in inner.iter().filter(|(_, value)| !value.is_object()) {
                flatten(&format!("{name} {key}"), value, entries);
            }
            return;
        }
        Value::Null | Value::Array(_) => return,
    };
    entries.push(Entry {
        name: format::words(name),
        value: shown,
    });
}

/// A figure in the unit that its name ends with.
fn quantity(name: &str, value: Option<f64>) -> String {
    match value {
        Some(value) if name.ends_with("seconds") => format::seconds(value),
        Some(value) if name.ends_with("bytes") => format::size(value),
        value => format::figure(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
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
        let ledger: Vec<_> = report
            .ledger
            .iter()
            .map(|e| format!("{}={}", e.name, e.value))
            .collect();
        assert_eq!(
            ledger,
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
        assert!(report.curve.is_none() && report.ledger.is_empty(), "{text}");
        for text in ["{", "{}", "[]", "3"] {
            assert!(Report::read(text.as_bytes()).is_none(), "{text}");
        }
    }
}
