//! Events for people: how grave each is, and a sentence.
//!
//! Both follow from kind and data, so that what is stored need not change when a sentence does.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

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
pub struct Telling<'a> {
    pub kind: &'a str,
    pub data: &'a Value,
}

impl Telling<'_> {
    /// How grave it is.
    pub fn level(&self) -> Level {
        match self.kind {
            "transfer.failed" | "base_model.arrival.failed" | "webhook_endpoint.disabled" => {
                Level::Error
            }
            "gate.failed"
            | "transfer.cancelled"
            | "fine_tune.version.awaiting_promotion"
            | "fine_tune.version.rolled_back" => Level::Warning,
            "transfer.queued" if self.is_another_attempt() || self.is_refused() => Level::Warning,
            "transfer.succeeded" if self.text("verdict") == "rejected" => Level::Warning,
            "retune.completed" => match self.text("status") {
                "failed" => Level::Error,
                "partially_succeeded" | "cancelled" => Level::Warning,
                _ => Level::Info,
            },
            _ => Level::Info,
        }
    }

    /// What happened, as a sentence.
    pub fn message(&self) -> String {
        match self.kind {
            "transfer.queued" => self.queued(),
            "transfer.started" => format!("attempt {} has begun", self.number("attempt")),
            "transfer.phase_changed" => match self.text("phase") {
                "" => "between two phases".to_owned(),
                phase => format!("{} has begun", phase.replace('_', " ")),
            },
            "transfer.awaiting_evaluation" => {
                format!("the result waits for the evaluation {}", self.text("name"))
            }
            "transfer.succeeded" => match (self.text("verdict"), self.text("recommendation")) {
                ("rejected", _) => "done and rejected: no model was published".to_owned(),
                (_, "") => "done: the model is published".to_owned(),
                (_, advice) => format!("done: the model is published; recommendation: {advice}"),
            },
            "transfer.failed" => format!("failed: {}", self.error()),
            "transfer.cancelled" => self.because("cancelled"),
            "gate.passed" => "the gate is passed".to_owned(),
            "gate.failed" => "the gate is not passed".to_owned(),
            "base_model.version.created" => format!("version {} has arrived", self.text("version")),
            "base_model.alias.moved" => {
                format!(
                    "{} stands on version {}",
                    self.text("alias"),
                    self.text("version")
                )
            }
            "base_model.successor.named" => {
                format!(
                    "the card of version {} names {} as the next one",
                    self.text("version"),
                    self.text("successor")
                )
            }
            "base_model.arrival.failed" => self.because("an announced version was given up"),
            "retune.created" => format!("a retune of {} transfers", self.number("transfers")),
            "retune.completed" => {
                format!(
                    "the retune is over: {}",
                    self.text("status").replace('_', " ")
                )
            }
            "fine_tune.version.created" => {
                format!(
                    "version {} is {}",
                    self.number("version"),
                    self.text("state")
                )
            }
            "fine_tune.version.awaiting_promotion" => {
                format!(
                    "version {} waits for an administrator: {} is protected",
                    self.number("version"),
                    self.text("alias")
                )
            }
            "fine_tune.version.promoted" => {
                format!(
                    "{} stands on version {}",
                    self.text("alias"),
                    self.number("version")
                )
            }
            "fine_tune.version.rolled_back" => {
                format!(
                    "{} stands on version {} again",
                    self.text("alias"),
                    self.number("version")
                )
            }
            "webhook_endpoint.disabled" => self.because("the endpoint was disabled"),
            other => other.replace(['.', '_'], " "),
        }
    }

    fn queued(&self) -> String {
        match self.text("reason") {
            "attempt_failed" => format!("the attempt failed and is repeated: {}", self.error()),
            "lease_expired" => "its worker fell silent; it waits for another".to_owned(),
            "handed_back" => "its worker stopped and has handed it back".to_owned(),
            "not_understood" => {
                format!(
                    "it waits for a worker that can read its specification: {}",
                    self.error()
                )
            }
            "retried" => "queued again by hand".to_owned(),
            "evaluated" => match self.data["evaluation"]["passed"].as_bool() {
                Some(true) => "the evaluation is passed; the result is put in its place".to_owned(),
                _ => "the evaluation is not passed; the rejection is written".to_owned(),
            },
            "retune" => "queued by a retune".to_owned(),
            _ => "queued".to_owned(),
        }
    }

    fn is_another_attempt(&self) -> bool {
        ["attempt_failed", "lease_expired", "not_understood"].contains(&self.text("reason"))
    }

    fn is_refused(&self) -> bool {
        self.text("reason") == "evaluated" && self.data["evaluation"]["passed"] == false
    }

    fn because(&self, what: &str) -> String {
        match self.text("reason") {
            "" => what.to_owned(),
            reason => format!("{what}: {}", reason.replace('_', " ")),
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

    /// `?` where it is absent.
    fn number(&self, field: &str) -> String {
        self.data[field]
            .as_i64()
            .map_or_else(|| "?".to_owned(), |number| number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contract::events::EventKind;

    fn told(kind: EventKind, data: &Value) -> (Level, String) {
        let telling = Telling {
            kind: kind.name(),
            data,
        };
        (telling.level(), telling.message())
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
}
