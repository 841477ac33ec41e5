//! What a page shows of `report.json`. Absent or unexpected parts are not shown; none is an error,
//! so that reports of other versions can be looked at.

use serde_json::Value;

use super::{
    curve::{self, Curve},
    format,
};

/// The parts of a report on a page.
pub struct Report {
    pub reasons: Vec<String>,
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

/// A named figure.
pub struct Entry {
    pub name: String,
    pub value: String,
}

impl Report {
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let report: Value = serde_json::from_slice(bytes).ok()?;
        let candidates = list(&report, "/candidates");
        let winner = report.pointer("/winner").and_then(winner_name);
        Some(Self {
            reasons: list(&report, "/recommendation/reasons")
                .iter()
                .filter_map(|reason| reason.as_str().map(ToOwned::to_owned))
                .collect(),
            curve: curve::draw(&series(candidates), &baselines(&report)),
            candidates: candidates
                .iter()
                .map(|one| candidate(one, winner, &report))
                .chain(fine_tuned(&report))
                .collect(),
            baselines: baselines(&report)
                .into_iter()
                .map(|(name, value)| Entry { name, value: format::percent(Some(value)) })
                .collect(),
            ledger: ledger(&report),
        })
    }
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn number(value: &Value, pointer: &str) -> Option<f64> {
    value.pointer(pointer).and_then(Value::as_f64)
}

/// The winner is a method's name, or an object that has it.
fn winner_name(winner: &Value) -> Option<&str> {
    winner.as_str().or_else(|| winner.get("method").and_then(Value::as_str))
}

fn method(candidate: &Value) -> &str {
    candidate.get("method").and_then(Value::as_str).unwrap_or("?")
}

fn candidate(one: &Value, winner: Option<&str>, report: &Value) -> Candidate {
    let seconds = report.pointer("/timing/methods").and_then(|of| of.get(method(one))?.as_f64());
    Candidate {
        method: format::words(method(one)),
        winner: winner == Some(method(one)),
        accuracy: format::percent(number(one, "/validation/accuracy")),
        loss: format::figure(number(one, "/validation/loss")),
        test: format::percent(number(one, "/test/accuracy")),
        step: format::figure(number(one, "/step")),
        alpha: format::figure(number(one, "/alpha")),
        sample_gradients: format::figure(number(one, "/sample_gradients")),
        seconds: seconds.map_or(format::ABSENT.into(), format::seconds),
    }
}

/// The winner after its short training, where there was one.
fn fine_tuned(report: &Value) -> Option<Candidate> {
    let tuned = report.get("fine_tune").filter(|tuned| tuned.is_object())?;
    Some(Candidate {
        method: "+ fine-tuning".to_owned(),
        winner: false,
        accuracy: format::percent(number(tuned, "/validation/accuracy")),
        loss: format::figure(number(tuned, "/validation/loss")),
        test: format::percent(number(tuned, "/test/accuracy")),
        step: String::new(),
        alpha: String::new(),
        sample_gradients: format::figure(number(tuned, "/sample_gradients")),
        seconds: number(report, "/timing/fine_tune_seconds")
            .map_or(format::ABSENT.into(), format::seconds),
    })
}

/// Accuracy by step; a candidate without steps is one point.
fn series(candidates: &[Value]) -> Vec<curve::Given> {
    candidates
        .iter()
        .map(|one| {
            let chosen = number(one, "/step");
            let mut points: Vec<(f64, f64)> = list(one, "/steps")
                .iter()
                .filter_map(|step| Some((number(step, "/step")?, number(step, "/accuracy")?)))
                .collect();
            if points.is_empty() {
                points.extend(chosen.zip(number(one, "/validation/accuracy")));
            }
            curve::Given { name: format::words(method(one)), points, chosen }
        })
        .filter(|given| !given.points.is_empty())
        .collect()
}

fn baselines(report: &Value) -> Vec<(String, f64)> {
    let Some(Value::Object(baselines)) = report.pointer("/baselines") else { return Vec::new() };
    baselines
        .iter()
        .filter_map(|(name, figures)| {
            // The curve shows validation; so should the lines it is measured against.
            let accuracy =
                number(figures, "/validation/accuracy").or(number(figures, "/accuracy"))?;
            Some((format::words(name), accuracy))
        })
        .collect()
}

/// Seconds by phase, then every other figure of the cost, one level deep.
fn ledger(report: &Value) -> Vec<Entry> {
    let mut entries = Vec::new();
    if let Some(Value::Object(phases)) = report.pointer("/timing/phases") {
        for (name, value) in phases {
            let Some(value) = value.as_f64() else { continue };
            entries.push(Entry { name: format::words(name), value: format::seconds(value) });
        }
    }
    if let Some(Value::Object(cost)) = report.pointer("/cost") {
        for (name, value) in cost {
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
    entries.push(Entry { name: format::words(name), value: shown });
}

/// A figure in the unit that its name ends with.
fn quantity(name: &str, value: Option<f64>) -> String {
    match value {
        Some(value) if name.ends_with("seconds") => format::seconds(value),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast of a float saturates"
        )]
        Some(value) if name.ends_with("bytes") => format::bytes(value as u64),
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
            "recommendation": {"action": "transfer", "reasons": ["because", 3]},
            "timing": {"phases": {"aligning": 2.0}, "methods": {"fgmt": 1.25}},
            "cost": {"sample_gradients": 2560, "peak_memory_bytes": 2_000_000, "fine_tuning": {"seconds": 3.0}}
        });
        let report = Report::read(report.to_string().as_bytes()).unwrap();
        assert_eq!(report.reasons, ["because"]);
        assert_eq!(
            report.candidates.iter().map(|one| one.winner).collect::<Vec<_>>(),
            [false, true]
        );
        assert_eq!(
            (report.candidates[0].test.as_str(), report.candidates[1].test.as_str()),
            ("–", "88.0 %")
        );
        assert_eq!(report.candidates[1].seconds, "1.2 s");
        let curve = report.curve.unwrap();
        assert_eq!(curve.series.iter().map(|one| one.dots.len()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(curve.baselines.len(), 1);
        let ledger: Vec<_> =
            report.ledger.iter().map(|e| format!("{}={}", e.name, e.value)).collect();
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
            (row.method.as_str(), row.accuracy.as_str(), row.test.as_str()),
            ("+ fine-tuning", "50.0 %", "25.0 %")
        );
        assert_eq!((row.sample_gradients.as_str(), row.seconds.as_str()), ("7", "2.0 s"));
    }

    #[test]
    fn an_unknown_report_shows_nothing_and_breaks_nothing() {
        for text in ["{}", "[]", "3", "{\"candidates\": [3, {}], \"cost\": 1, \"winner\": []}"] {
            let report = Report::read(text.as_bytes()).unwrap();
            assert!(report.curve.is_none() && report.ledger.is_empty(), "{text}");
        }
        assert!(Report::read(b"{").is_none());
    }
}
