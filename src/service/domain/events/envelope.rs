//! The body of a webhook: a `CloudEvents` 1.0 event in structured JSON.
//!
//! It is made of the event's row alone, so that every attempt and every replay has the same bytes.

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::RecordedKind;
use crate::{
    contract::{
        events::EventKind,
        ids::{EventId, TenantId, TransferId},
    },
    service::domain::transfers::Status,
};

/// The content type of the body.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// An event, as its row has it.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub id: EventId,
    pub tenant: TenantId,
    /// Set where the event is a transfer's.
    pub transfer: Option<TransferId>,
    pub kind: RecordedKind,
    /// What it is about: a path below `/v1`.
    pub subject: String,
    pub created_at: OffsetDateTime,
    pub data: Value,
}

impl Envelope {
    /// The body to be posted.
    ///
    /// # Errors
    /// When the time cannot be written, which no row's is.
    pub fn body(&self) -> Result<String, time::error::Format> {
        let body = json!({
            "specversion": "1.0",
            "id": self.id,
            "source": format!("urn:retune:tenant:{}", self.tenant),
            "type": self.kind,
            "subject": self.subject,
            "time": self.created_at.format(&Rfc3339)?,
            "datacontenttype": "application/json",
            "data": self.data(),
        });
        Ok(body.to_string())
    }

    /// A transfer's events say which and, where they move it, what it has become.
    fn data(&self) -> Value {
        let Some(transfer) = self.transfer else {
            return self.data.clone();
        };

        let mut data = json!({"id": transfer});
        if let Some(status) = status_after(&self.kind) {
            data["status"] = status.name().into();
        }
        for (key, value) in self.data.as_object().into_iter().flatten() {
            data[key] = value.clone();
        }
        data
    }
}

/// The status of a transfer right after an event of this kind; `None` where the event does not move it, or is of
/// another version of this program.
fn status_after(kind: &RecordedKind) -> Option<Status> {
    match kind.known()? {
        EventKind::TransferQueued => Some(Status::Queued),
        EventKind::TransferStarted | EventKind::TransferPhaseChanged => Some(Status::Running),
        EventKind::TransferAwaitingEvaluation => Some(Status::AwaitingEvaluation),
        EventKind::TransferSucceeded => Some(Status::Succeeded),
        EventKind::TransferFailed => Some(Status::Failed),
        EventKind::TransferCancelled => Some(Status::Cancelled),
        EventKind::GatePassed
        | EventKind::GateFailed
        | EventKind::BaseModelVersionCreated
        | EventKind::BaseModelAliasMoved
        | EventKind::BaseModelSuccessorNamed
        | EventKind::BaseModelArrivalFailed
        | EventKind::RetuneCreated
        | EventKind::RetuneCompleted
        | EventKind::FineTuneVersionCreated
        | EventKind::FineTuneVersionAwaitingPromotion
        | EventKind::FineTuneVersionPromoted
        | EventKind::FineTuneVersionRolledBack
        | EventKind::WebhookEndpointDisabled
        | EventKind::WebhookEndpointTest => None,
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;

    fn read(kind: impl Into<RecordedKind>, transfer: Option<TransferId>, data: Value) -> Value {
        let envelope = Envelope {
            id: EventId(Uuid::max()),
            tenant: TenantId(Uuid::nil()),
            transfer,
            kind: kind.into(),
            subject: "transfers/x".to_owned(),
            created_at: datetime!(2026-11-24 10:00:00.5 UTC),
            data,
        };
        serde_json::from_str(&envelope.body().unwrap()).unwrap()
    }

    #[test]
    fn a_body_has_what_cloudevents_asks_for() {
        let body = read(EventKind::RetuneCreated, None, json!({"transfers": 3}));
        assert_eq!(
            body,
            json!({
                "specversion": "1.0", "id": Uuid::max(), "type": "retune.created",
                "source": "urn:retune:tenant:00000000-0000-0000-0000-000000000000",
                "subject": "transfers/x", "time": "2026-11-24T10:00:00.5Z",
                "datacontenttype": "application/json", "data": {"transfers": 3}
            })
        );
    }

    #[test]
    fn a_transfers_event_says_which_and_what_became_of_it() {
        let id = TransferId(Uuid::max());
        let data = |kind| read(kind, Some(id), json!({"attempt": 1}))["data"].clone();
        for (kind, status) in [
            (EventKind::TransferQueued, "queued"),
            (EventKind::TransferStarted, "running"),
            (EventKind::TransferPhaseChanged, "running"),
            (EventKind::TransferAwaitingEvaluation, "awaiting_evaluation"),
            (EventKind::TransferSucceeded, "succeeded"),
            (EventKind::TransferFailed, "failed"),
            (EventKind::TransferCancelled, "cancelled"),
        ] {
            assert_eq!(
                data(kind),
                json!({"id": id, "status": status, "attempt": 1}),
                "{kind}"
            );
        }
        assert_eq!(data(EventKind::GatePassed), json!({"id": id, "attempt": 1}));
    }

    #[test]
    fn an_event_of_another_version_is_delivered_under_its_own_kind() {
        let id = TransferId(Uuid::max());
        let body = read(
            "transfer.paused".to_owned(),
            Some(id),
            json!({"attempt": 1}),
        );
        assert_eq!(body["type"], "transfer.paused");
        assert_eq!(body["data"], json!({"id": id, "attempt": 1}));
    }
}
