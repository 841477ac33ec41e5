//! Events, the endpoints that are told of them, and what came of telling them.

mod attempt;
mod envelope;
mod recorded;
mod signature;
mod summary;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::contract::ids::{DeliveryId, EventId, WebhookEndpointId};

pub use attempt::Attempt;
pub use envelope::{CONTENT_TYPE, Envelope};
pub use recorded::RecordedKind;
pub use signature::Secret;
pub use summary::{Level, Summary};

/// Something that happened to a transfer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Event {
    /// Rises with time within a transfer; the cursor of a stream.
    pub seq: i64,
    #[schema(value_type = Uuid)]
    pub id: EventId,
    /// `transfer.queued`, `transfer.started` …
    #[schema(value_type = String)]
    pub kind: RecordedKind,
    pub level: Level,
    /// What happened, for people.
    pub message: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    pub data: Value,
}

/// Something that happened to whatever a tenant has.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FeedEvent {
    /// Rises from event to event; the cursor of the feed.
    pub place: i64,
    #[schema(value_type = Uuid)]
    pub id: EventId,
    /// What it is about, as the API names it below `/v1`: `transfers/{id}`, `fine_tunes/{name}/versions/2`.
    pub subject: String,
    /// `transfer.queued`, `retune.completed` …
    #[schema(value_type = String)]
    pub kind: RecordedKind,
    pub level: Level,
    /// What happened, for people.
    pub message: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    pub data: Value,
}

/// Whether an endpoint may be called so: letters, digits, `-`, `_` and `.`, at most 100.
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=100).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('.')
}

/// An endpoint as it is shown; its secret is not in it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Endpoint {
    /// The cursor of lists; it is named by its name.
    #[serde(skip)]
    pub id: WebhookEndpointId,
    pub name: String,
    pub url: String,
    /// Kinds of events: exact names, `transfer.*`, or `*` for all.
    pub events: Vec<String>,
    pub enabled: bool,
    /// Why the service disabled it; null where its owner did, or nobody.
    pub disabled_reason: Option<String>,
    /// The first failure after the last success.
    #[serde(with = "time::serde::rfc3339::option")]
    pub failing_since: Option<OffsetDateTime>,
    /// Until then the secret before the rotation signs too.
    #[serde(with = "time::serde::rfc3339::option")]
    pub previous_secret_until: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "delivery_status", rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// To be posted, for the first time or again.
    Pending,
    /// Answered with 2xx.
    Delivered,
    /// Given up.
    Failed,
}

/// One event told to one endpoint.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Delivery {
    #[schema(value_type = Uuid)]
    pub id: DeliveryId,
    /// The `webhook-id` of every attempt.
    #[schema(value_type = Uuid)]
    pub event: EventId,
    /// The event's kind.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: RecordedKind,
    /// What the event is about.
    pub subject: String,
    pub status: DeliveryStatus,
    pub attempts: i32,
    /// HTTP status of the last answer; null where none came.
    pub response_status: Option<i32>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_attempt_at: Option<OffsetDateTime>,
    /// Null when it is over.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_attempt_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for good in ["a", "ci-2.x_Y", &"x".repeat(100)] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            ".a",
            "a b",
            "a/b",
            "é",
            "a\0",
            &"x".repeat(101),
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
