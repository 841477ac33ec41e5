//! Figures and names as people read them.

use serde_json::Value;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::service::domain::transfers::{Progress, Transfer};

/// What stands where a figure is absent.
pub const ABSENT: &str = "–";

/// `0.7134` as `71.3 %`.
pub fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| ABSENT.into(), |value| format!("{:.1} %", value * 100.0))
}

/// Four significant digits at most.
pub fn figure(value: Option<f64>) -> String {
    match value {
        None => ABSENT.into(),
        Some(value) if value.fract() == 0.0 && value.abs() < 1e15 => grouped(value),
        Some(value) if value.abs() >= 1000.0 => grouped(value.round()),
        Some(value) if value.abs() >= 1.0 => trimmed(&format!("{value:.2}")),
        Some(value) if value.abs() >= 0.001 => trimmed(&format!("{value:.4}")),
        Some(value) => format!("{value:.2e}"),
    }
}

fn trimmed(text: &str) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `1234567` as `1 234 567`, with spaces that do not break.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }

    if value < 0.0 {
        format!("−{text}")
    } else {
        text
    }
}

/// Sizes of files, in powers of a thousand.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub fn bytes(size: u64) -> String {
    let mut value = size as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            let digits = usize::from(unit != "B" && value < 100.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }

    format!("{value:.1} TB")
}

/// The same of a size that was computed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates"
)]
pub fn size(value: f64) -> String {
    bytes(value as u64)
}

/// `0.42 s`, `12.3 s`, `3 min 5 s`, `2 h 10 min`.
pub fn seconds(value: f64) -> String {
    let whole = Duration::seconds_f64(value.clamp(0.0, 1e12)).whole_seconds();
    match whole {
        0 => format!("{value:.2} s"),
        1..60 => format!("{value:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// How long ago, in one unit.
pub fn age(then: OffsetDateTime, now: OffsetDateTime) -> String {
    let passed = (now - then).whole_seconds();
    match passed {
        ..5 => "just now".into(),
        5..60 => format!("{passed} s ago"),
        60..3600 => format!("{} min ago", passed / 60),
        3600..86_400 => format!("{} h ago", passed / 3600),
        _ => format!("{} d ago", passed / 86_400),
    }
}

/// `in 12 min`, for what is still to come.
pub fn ahead(then: OffsetDateTime, now: OffsetDateTime) -> String {
    match (then - now).whole_seconds() {
        ..60 => "in less than a minute".into(),
        left @ 60..3600 => format!("in {} min", left / 60),
        left @ 3600..86_400 => format!("in {} h {} min", left / 3600, left % 3600 / 60),
        left => format!("in {} d", left / 86_400),
    }
}

/// When a transfer that runs should be done, as its worker estimates.
pub fn left(transfer: &Transfer, now: OffsetDateTime) -> Option<String> {
    let end = transfer.progress.as_ref()?.estimated_finish?;
    (!transfer.status.is_final()).then(|| format!("done {}", ahead(end, now)))
}

/// `10:05:59`, in UTC.
pub fn time_of_day(time: OffsetDateTime) -> String {
    let (hour, minute, second) = time.to_offset(time::UtcOffset::UTC).to_hms();
    format!("{hour:02}:{minute:02}:{second:02}")
}

/// `2026-11-30`.
pub fn day(time: OffsetDateTime) -> String {
    time.date().to_string()
}

/// The accuracy of a result, of a regression its R², or without labels its agreement with the old tuned model.
pub fn outcome(metrics: &Value) -> Option<String> {
    if let Some(r2) = metrics["r2"].as_f64() {
        return Some(format!("R² {r2:.3}"));
    }
    let accuracy = metrics["accuracy"].as_f64();
    let agreement = metrics["agreement"].as_f64();
    match (accuracy, agreement) {
        (None, Some(agreement)) => Some(format!("{} agree", percent(Some(agreement)))),
        (accuracy, _) => accuracy.map(|accuracy| percent(Some(accuracy))),
    }
}

/// For `<time datetime>`, in whole seconds.
pub fn instant(time: OffsetDateTime) -> String {
    time.replace_nanosecond(0)
        .unwrap_or(time)
        .format(&Rfc3339)
        .unwrap_or_default()
}

/// The last eight digits: the end is random, the beginning is the time.
pub fn short_id(id: impl Into<uuid::Uuid>) -> String {
    let id = id.into().simple().to_string();
    id[id.len() - 8..].to_owned()
}

/// `file:///models/base-b/` as `base-b`.
pub fn last_part(uri: &str) -> String {
    let part = uri
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    if part.is_empty() {
        ABSENT.into()
    } else {
        part.into()
    }
}

/// A `snake_case` label with spaces.
pub fn words(label: &str) -> String {
    label.replace('_', " ")
}

/// The JSON string of a unit variant, with spaces.
pub fn label(value: &impl serde::Serialize) -> String {
    words(&snake_label(value))
}

/// The JSON string of a unit variant.
pub fn snake_label(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}

/// The text at a pointer of the specification.
pub fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// `identity, fgmt` or `auto`.
pub fn methods(spec: &Value) -> String {
    match spec.get("methods") {
        Some(Value::Array(methods)) => methods
            .iter()
            .filter_map(Value::as_str)
            .map(words)
            .collect::<Vec<_>>()
            .join(", "),
        _ => "auto".into(),
    }
}

/// A progress bar.
pub struct Bar {
    pub done: i64,
    pub total: i64,
    pub label: String,
}

impl Bar {
    /// The bar of a transfer's phase, while there is one.
    pub fn of(transfer: &Transfer) -> Option<Self> {
        let Progress {
            done, total, unit, ..
        } = transfer.progress.as_ref()?;
        if transfer.status.is_final() || *total <= 0 {
            return None;
        }
        let phase = transfer.phase.as_ref().map(label).unwrap_or_default();
        let label = format!("{phase} {done}/{total} {}", words(unit));

        Some(Self {
            done: *done,
            total: *total,
            label: label.trim().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn figures() {
        assert_eq!(percent(Some(0.71349)), "71.3 %");
        assert_eq!(percent(None), ABSENT);
        assert_eq!(figure(Some(1_234_567.0)), "1\u{a0}234\u{a0}567");
        assert_eq!(figure(Some(0.25)), "0.25");
        assert_eq!(figure(Some(12.346)), "12.35");
        assert_eq!(figure(Some(0.000_012)), "1.20e-5");
        assert_eq!(figure(Some(-2560.0)), "−2\u{a0}560");
        assert_eq!(
            (bytes(999), bytes(1_500), bytes(123_456_789)),
            ("999 B".into(), "1.5 kB".into(), "123 MB".into())
        );

        assert_eq!(
            (seconds(0.4167), seconds(185.0), seconds(7800.0)),
            ("0.42 s".into(), "3 min 5 s".into(), "2 h 10 min".into())
        );
    }

    #[test]
    fn times_and_names() {
        let now = datetime!(2026-01-02 00:00:00.5 UTC);
        assert_eq!(age(datetime!(2026-01-01 22:00 UTC), now), "2 h ago");
        assert_eq!(age(now, now), "just now");
        assert_eq!(ahead(datetime!(2026-01-02 01:05 UTC), now), "in 1 h 4 min");
        assert_eq!(ahead(now, now), "in less than a minute");
        assert_eq!(day(now), "2026-01-02");
        assert_eq!(
            outcome(&serde_json::json!({"agreement": 0.5})).as_deref(),
            Some("50.0 % agree")
        );
        assert_eq!(
            outcome(&serde_json::json!({"accuracy": null, "r2": 0.9174, "agreement": 0.5}))
                .as_deref(),
            Some("R² 0.917")
        );
        assert_eq!(instant(now), "2026-01-02T00:00:00Z");
        assert_eq!(last_part("file:///models/base-b/"), "base-b");
        assert_eq!(
            methods(&serde_json::json!({"methods": ["identity", "weight_matching"]})),
            "identity, weight matching"
        );

        assert_eq!(methods(&serde_json::json!({"methods": "auto"})), "auto");
    }
}
