//! Events for people: how grave each is, and a sentence.
//!
//! Both follow from kind and data, so that what is stored need not change when a sentence does.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::RecordedKind;
use crate::{
    contract::{
        events::{EventKind, QueuedReason},
        outcome::Verdict,
    },
    service::domain::registry::retunes::RetuneStatus,
};

/// How grave an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EventLevel)]
pub enum Level {
    /// All is as it should be.
    Info,
    /// Something did not go as wished, and is dealt with.
    Warning,
    /// Something ended badly.
    Error,
}

impl Level {
    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// An event, to be told.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a> {
    pub kind: &'a RecordedKind,
    pub data: &'a Value,
}

impl Summary<'_> {
    /// How grave it is; an event of another version of this program is none to worry about.
    pub fn level(&self) -> Level {
        let Some(kind) = self.kind.known() else {
            return Level::Info;
        };

        match kind {
            EventKind::TransferFailed
            | EventKind::BaseModelArrivalFailed
            | EventKind::WebhookEndpointDisabled => Level::Error,
            EventKind::GateFailed
            | EventKind::TransferCancelled
            | EventKind::FineTuneVersionAwaitingPromotion
            | EventKind::FineTuneVersionRolledBack => Level::Warning,
            EventKind::TransferQueued if self.is_another_attempt() || self.is_refused() => {
                Level::Warning
            }
            EventKind::TransferSucceeded if self.is_rejected() => Level::Warning,
            EventKind::RetuneCompleted => match self.value("status") {
                Some(RetuneStatus::Failed) => Level::Error,
                Some(RetuneStatus::PartiallySucceeded | RetuneStatus::Cancelled) => Level::Warning,
                _ => Level::Info,
            },
            _ => Level::Info,
        }
    }

    /// What happened, as a sentence.
    pub fn message(&self) -> String {
        let Some(kind) = self.kind.known() else {
            return in_words(self.kind.text());
        };

        match kind {
            EventKind::TransferQueued => self.queued(),
            EventKind::TransferStarted => format!("attempt {} has begun", self.number("attempt")),
            EventKind::TransferPhaseChanged => match self.text("phase") {
                "" => "between two phases".to_owned(),
                phase => format!("{} has begun", in_words(phase)),
            },
            EventKind::TransferAwaitingEvaluation => {
                format!("the result waits for the evaluation {}", self.text("name"))
            }
            EventKind::TransferSucceeded => self.succeeded(),
            EventKind::TransferFailed => format!("failed: {}", self.error()),
            EventKind::TransferCancelled => self.because("cancelled"),
            EventKind::GatePassed => "the gate is passed".to_owned(),
            EventKind::GateFailed => "the gate is not passed".to_owned(),
            EventKind::BaseModelVersionCreated => {
                format!("version {} has arrived", self.text("version"))
            }
            EventKind::BaseModelAliasMoved => self.stands_on(self.text("version")),
            EventKind::BaseModelSuccessorNamed => self.successor_named(),
            EventKind::BaseModelArrivalFailed => self.because("an announced version was given up"),
            EventKind::RetuneCreated => {
                format!("a retune of {} transfers", self.number("transfers"))
            }
            EventKind::RetuneCompleted => {
                format!("the retune is over: {}", in_words(self.text("status")))
            }
            EventKind::FineTuneVersionCreated => {
                format!(
                    "version {} is {}",
                    self.number("version"),
                    self.text("state")
                )
            }
            EventKind::FineTuneVersionAwaitingPromotion => self.awaiting_promotion(),
            EventKind::FineTuneVersionPromoted => self.stands_on(&self.number("version")),
            EventKind::FineTuneVersionRolledBack => {
                format!("{} again", self.stands_on(&self.number("version")))
            }
            EventKind::WebhookEndpointDisabled => self.because("the endpoint was disabled"),
            EventKind::WebhookEndpointTest => in_words(kind.name()),
        }
    }

    fn queued(&self) -> String {
        match self.queued_reason() {
            Some(QueuedReason::AttemptFailed) => {
                format!("the attempt failed and is repeated: {}", self.error())
            }
            Some(QueuedReason::LeaseExpired) => {
                "its worker fell silent; it waits for another".to_owned()
            }
            Some(QueuedReason::HandedBack) => {
                "its worker stopped and has handed it back".to_owned()
            }
            Some(QueuedReason::NotUnderstood) => {
                format!(
                    "it waits for a worker that can read its specification: {}",
                    self.error()
                )
            }
            Some(QueuedReason::Retried) => "queued again by hand".to_owned(),
            Some(QueuedReason::Evaluated) => match self.data["evaluation"]["passed"].as_bool() {
                Some(true) => "the evaluation is passed; the result is put in its place".to_owned(),
                _ => "the evaluation is not passed; the rejection is written".to_owned(),
            },
            Some(QueuedReason::Retune) => "queued by a retune".to_owned(),
            Some(QueuedReason::Submitted) | None => "queued".to_owned(),
        }
    }

    fn succeeded(&self) -> String {
        if self.is_rejected() {
            return "done and rejected: no model was published".to_owned();
        }

        match self.text("recommendation") {
            "" => "done: the model is published".to_owned(),
            advice => format!("done: the model is published; recommendation: {advice}"),
        }
    }

    fn successor_named(&self) -> String {
        format!(
            "the card of version {} names {} as the next one",
            self.text("version"),
            self.text("successor")
        )
    }

    fn awaiting_promotion(&self) -> String {
        format!(
            "version {} waits for an administrator: {} is protected",
            self.number("version"),
            self.text("alias")
        )
    }

    fn queued_reason(&self) -> Option<QueuedReason> {
        QueuedReason::of(self.text("reason"))
    }

    fn is_another_attempt(&self) -> bool {
        matches!(
            self.queued_reason(),
            Some(
                QueuedReason::AttemptFailed
                    | QueuedReason::LeaseExpired
                    | QueuedReason::NotUnderstood
            )
        )
    }

    fn is_refused(&self) -> bool {
        self.queued_reason() == Some(QueuedReason::Evaluated)
            && self.data["evaluation"]["passed"] == false
    }

    fn is_rejected(&self) -> bool {
        self.value("verdict") == Some(Verdict::Rejected)
    }

    fn stands_on(&self, version: &str) -> String {
        format!("{} stands on version {version}", self.text("alias"))
    }

    fn because(&self, what: &str) -> String {
        match self.text("reason") {
            "" => what.to_owned(),
            reason => format!("{what}: {}", in_words(reason)),
        }
    }

    fn error(&self) -> String {
        let error = &self.data["error"];
        let (code, detail) = (error["code"].as_str(), error["detail"].as_str());
        format!(
            "{} ({})",
            detail.unwrap_or("no reason is known"),
            code.unwrap_or("unknown")
        )
    }

    fn text(&self, field: &str) -> &str {
        self.data[field].as_str().unwrap_or_default()
    }

    /// `None` where it is absent, or none of this version's.
    fn value<'de, T: Deserialize<'de>>(&'de self, field: &str) -> Option<T> {
        T::deserialize(&self.data[field]).ok()
    }

    /// `?` where it is absent.
    fn number(&self, field: &str) -> String {
        self.data[field]
            .as_i64()
            .map_or_else(|| "?".to_owned(), |number| number.to_string())
    }
}

/// `transfer.phase_changed` as people write it.
fn in_words(name: &str) -> String {
    name.replace(['.', '_'], " ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(kind: impl Into<RecordedKind>, data: &Value) -> (Level, String) {
        let summary = Summary {
            kind: &kind.into(),
            data,
        };
        (summary.level(), summary.message())
    }

    #[test]
    fn a_failure_is_told_with_its_reason_and_an_attempt_more_is_a_warning() {
        let error = json!({"error": {"code": "not_finite", "detail": "fc1.weight has NaN"}});
        assert_eq!(
            told(EventKind::TransferFailed, &error),
            (
                Level::Error,
                "failed: fc1.weight has NaN (not_finite)".into()
            )
        );
        let again = json!({"reason": "lease_expired", "error": null});
        assert_eq!(told(EventKind::TransferQueued, &again).0, Level::Warning);
        let first = json!({"reason": "submitted"});
        assert_eq!(
            told(EventKind::TransferQueued, &first),
            (Level::Info, "queued".into())
        );
    }

    #[test]
    fn a_rejected_model_is_no_plain_success() {
        let rejected = json!({"verdict": "rejected", "recommendation": "retrain"});
        assert_eq!(
            told(EventKind::TransferSucceeded, &rejected).0,
            Level::Warning
        );
        let done = json!({"verdict": "published", "recommendation": "transfer"});
        assert_eq!(
            told(EventKind::TransferSucceeded, &done),
            (
                Level::Info,
                "done: the model is published; recommendation: transfer".into()
            )
        );
    }

    #[test]
    fn every_kind_has_a_sentence_even_without_data() {
        for kind in EventKind::ALL {
            assert!(told(*kind, &Value::Null).1.len() > 5, "{kind}");
        }
    }
    #[test]
    fn an_event_of_another_version_is_told_by_its_kind() {
        let told = told(
            "transfer.put_off".to_owned(),
            &json!({"reason": "requested"}),
        );
        assert_eq!(told, (Level::Info, "transfer put off".into()));
    }

    #[test]
    fn how_a_retune_ended_says_how_grave_it_is() {
        for (status, level) in [
            ("succeeded", Level::Info),
            ("partially_succeeded", Level::Warning),
            ("cancelled", Level::Warning),
            ("failed", Level::Error),
        ] {
            let told = told(EventKind::RetuneCompleted, &json!({"status": status}));
            let sentence = format!("the retune is over: {}", status.replace('_', " "));
            assert_eq!(told, (level, sentence));
        }
    }
}
