//! What happened to a transfer, in words.

use crate::{
    contract::events::EventKind,
    service::{
        dashboard::format,
        domain::events::{Event, Level},
    },
};

/// A line of the history.
pub struct Line {
    pub text: String,
    pub at: String,
    /// Of the day.
    pub time: String,
    /// `good`, `bad` or nothing.
    pub tone: &'static str,
}

impl From<Event> for Line {
    fn from(event: Event) -> Self {
        let tone = match (event.level, event.kind.known()) {
            (Level::Error, _) | (_, Some(EventKind::GateFailed)) => "bad",
            (Level::Info, Some(EventKind::TransferSucceeded | EventKind::GatePassed)) => "good",
            _ => "",
        };
        Self {
            text: event.message,
            at: format::instant(event.created_at),
            time: format::time_of_day(event.created_at),
            tone,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn line(kind: EventKind, level: Level) -> Line {
        let created_at = time::macros::datetime!(2026-01-01 10:00:01.5 UTC);
        let (seq, id, data) = (1, Uuid::nil().into(), serde_json::Value::Null);
        Event {
            seq,
            id,
            kind: kind.into(),
            level,
            message: "so it is".into(),
            created_at,
            data,
        }
        .into()
    }

    #[test]
    fn what_ended_badly_looks_so() {
        let failed = line(EventKind::TransferFailed, Level::Error);
        assert_eq!((failed.text.as_str(), failed.tone), ("so it is", "bad"));
        assert_eq!(failed.time, "10:00:01");
        assert_eq!(line(EventKind::GateFailed, Level::Warning).tone, "bad");
        assert_eq!(line(EventKind::GatePassed, Level::Info).tone, "good");
        // A rejected result is done, and nothing to be glad of.
        assert_eq!(line(EventKind::TransferSucceeded, Level::Warning).tone, "");
        assert_eq!(line(EventKind::TransferPhaseChanged, Level::Info).tone, "");
    }
}
