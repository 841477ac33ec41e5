//! What happened to a transfer, in words.

use serde_json::Value;

use crate::service::{dashboard::format, domain::events::Event};

/// A line of the history.
pub struct Line {
    pub text: String,
    /// What it says beside that: an error, a reason.
    pub detail: String,
    pub at: String,
    /// Of the day.
    pub time: String,
    /// `good`, `bad` or nothing.
    pub tone: &'static str,
}

impl From<Event> for Line {
    fn from(event: Event) -> Self {
        let data = &event.data;
        let kind = event.kind.strip_prefix("transfer.").unwrap_or(&event.kind);
        let tone = match event.kind.as_str() {
            "transfer.succeeded" | "gate.passed" => "good",
            "transfer.failed" | "gate.failed" => "bad",
            _ => "",
        };
        let text = match (kind, data["phase"].as_str()) {
            ("phase_changed", Some(phase)) => format::words(phase),
            ("started", _) => match data["attempt"].as_i64() {
                Some(attempt) if attempt > 1 => format!("started, attempt {attempt}"),
                _ => "started".into(),
            },
            _ => format::words(&kind.replace('.', " ")),
        };

        Self {
            text,
            detail: detail(data),
            at: format::instant(event.created_at),
            time: format::time_of_day(event.created_at),
            tone,
        }
    }
}

/// A message or an error's detail as it was written, or the reason in words.
fn detail(data: &Value) -> String {
    let written = ["/message", "/error/detail"].iter().find_map(|at| data.pointer(at)?.as_str());
    let reason = data["reason"].as_str().map(format::words);
    written.map(ToOwned::to_owned).or(reason).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn line(kind: &str, data: Value) -> Line {
        let created_at = time::macros::datetime!(2026-01-01 10:00:01.5 UTC);
        Event { seq: 1, id: Uuid::nil().into(), kind: kind.into(), created_at, data }.into()
    }

    #[test]
    fn events_are_told_in_words() {
        assert_eq!(
            line("transfer.phase_changed", json!({"phase": "fine_tuning"})).text,
            "fine tuning"
        );
        assert_eq!(line("transfer.started", json!({"attempt": 2})).text, "started, attempt 2");
        let failed =
            line("transfer.failed", json!({"error": {"detail": "no a_b.json"}, "reason": "x"}));
        assert_eq!(
            (failed.text.as_str(), failed.detail.as_str(), failed.tone),
            ("failed", "no a_b.json", "bad")
        );
        assert_eq!(line("gate.passed", json!({})).text, "gate passed");
        assert_eq!(failed.time, "10:00:01");
    }
}
