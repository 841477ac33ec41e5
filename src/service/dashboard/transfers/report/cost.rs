//! What a transfer took, figure by figure.

use serde_json::{Value, json};

use super::Entry;
use crate::{contract::report, service::dashboard::format};

/// Seconds by phase, then every other figure of the cost, one level deep.
pub(super) fn cost(report: &report::Report) -> Vec<Entry> {
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
