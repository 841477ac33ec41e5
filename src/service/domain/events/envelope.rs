//! The body of a webhook: a `CloudEvents` 1.0 event in structured JSON.
//!
//! It is made of the event's row alone, so that every attempt and every replay has the same bytes.

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::contract::ids::{EventId, TenantId, TransferId};

/// The content type of the body.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// An event, as its row has it.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub id: EventId,
    pub tenant: TenantId,
    /// Set where the event is a transfer's.
    pub transfer: Option<TransferId>,
    pub kind: String,
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
            data["status"] = status.into();
        }
        for (key, value) in self.data.as_object().into_iter().flatten() {
            data[key] = value.clone();
        }
        data
    }
}

/// The status of a transfer right after an event of this kind.
fn status_after(kind: &str) -> Option<&str> {
    match kind {
        "transfer.started" | "transfer.phase_changed" => Some("running"),
        _ => kind.strip_prefix("transfer."),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;

    fn read(kind: &str, transfer: Option<TransferId>, data: Value) -> Value {
        let envelope = Envelope {
            id: EventId(Uuid::max()),
            tenant: TenantId(Uuid::nil()),
            transfer,
            kind: kind.to_owned(),
            subject: "transfers/x".to_owned(),
            created_at: datetime!(2026-11-24 10:00:00.5 UTC),
            data,
        };
        serde_json::from_str(&envelope.body().unwrap()).unwrap()
    }

    #[test]
    fn a_body_has_what_cloudevents_asks_for() {
        let body = read("retune.created", None, json!({"transfers": 3}));
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
            ("transfer.queued", "queued"),
            ("transfer.started", "running"),
            ("transfer.phase_changed", "running"),
            ("transfer.succeeded", "succeeded"),
        ] {
            assert_eq!(
                data(kind),
                json!({"id": id, "status": status, "attempt": 1}),
                "{kind}"
            );
        }
        assert_eq!(data("gate.passed"), json!({"id": id, "attempt": 1}));
    }
}
