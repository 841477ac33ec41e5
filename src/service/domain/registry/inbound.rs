//! What object stores and registries say when something has landed: locations, as hints.
//!
//! A notification proves nothing: it may come twice, late, out of order, or before the last file. What
//! it names is looked at in storage before it counts.
//!
//! Senders that ask first whether this address is meant are answered from what they sent (Event Grid), or
//! their question is kept for the administrator (SNS): no address that a stranger names is ever fetched.

mod bodies;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::contract::ids::{InboundTokenId, TenantId};

/// An address for notifications; its token is not in it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InboundToken {
    #[schema(value_type = Uuid)]
    pub id: InboundTokenId,
    /// The folder whose folders are the versions.
    pub prefix: String,
    /// How often the folder is listed unasked; null: never.
    pub poll_seconds: Option<i32>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last brought a notification.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_used_at: Option<OffsetDateTime>,
    /// When its folder was last listed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub listed_at: Option<OffsetDateTime>,
    /// Why the last listing failed; null where it did not.
    pub listing_error: Option<String>,
}

/// What a token stands for.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Of the token's row.
    pub id: InboundTokenId,
    pub tenant: TenantId,
    /// Name of the base model.
    pub base_model: String,
    /// The folder whose folders are its versions.
    pub prefix: String,
}

/// Who notifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    /// S3's own events, the same by `EventBridge`, or by an SNS topic.
    S3,
    /// `CloudEvents` 1.0, structured, binary or a batch, and Event Grid's own schema: `data.uri`, or an
    /// object of Google's, Azure's or S3's. Google's notifications by Pub/Sub are read too.
    Cloudevents,
    /// The hub's webhooks. The hub is no object store: whatever has come to the folder is looked at.
    Huggingface,
    /// A model version's `source`, or its tag `retune.uri` where only `MLflow` can find the source.
    Mlflow,
}

/// A place that is said to hold something new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// An object or a folder.
    pub uri: String,
    /// The version's name, where the sender has one.
    pub version: Option<String>,
}

/// What a notification asks to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announced {
    Places(Vec<Hint>),
    /// Everything in the folder.
    Everything,
    /// Nothing yet: a sender asks to open this address to confirm that it may notify.
    Confirmation(String),
    /// Nothing yet: Event Grid wants to hear this code again.
    Validation(String),
}

impl Sender {
    /// Reads a notification; one that names nothing (a test message, another kind of event) announces
    /// no places.
    pub fn announced(self, body: &Value) -> Announced {
        match self {
            Self::S3 => bodies::sns(body).unwrap_or_else(|| Announced::Places(bodies::s3(body))),
            Self::Cloudevents => match bodies::validation(body) {
                Some(code) => Announced::Validation(code.to_owned()),
                None => Announced::Places(bodies::cloudevents(body)),
            },
            Self::Mlflow => Announced::Places(bodies::mlflow(body).into_iter().collect()),
            Self::Huggingface => Announced::Everything,
        }
    }
}

/// Whether only `MLflow` knows where this is: a logged model (the usual `source` since `MLflow` 3), a run's
/// artifact, or what its server passes through.
pub fn is_known_to_mlflow_alone(uri: &str) -> bool {
    ["models:", "runs:", "mlflow-artifacts:"]
        .iter()
        .any(|scheme| uri.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use serde_json::json;

    use super::*;

    fn uris(sender: Sender, body: &Value) -> Vec<(String, Option<String>)> {
        match sender.announced(body) {
            Announced::Places(hints) => hints.into_iter().map(|h| (h.uri, h.version)).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_sender_names_places_its_own_way() {
        let plain = |uri: &str| vec![(uri.to_owned(), None)];
        let record = json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {
            "bucket": {"name": "models"}, "object": {"key": "llama/v+2/config.json"}}}]});
        assert_eq!(
            uris(Sender::S3, &record),
            plain("s3://models/llama/v 2/config.json")
        );
        let bridge = json!({"detail-type": "Object Created", "detail": {
            "bucket": {"name": "models"}, "object": {"key": "llama/v+2/config.json"}}});
        assert_eq!(
            uris(Sender::S3, &bridge),
            plain("s3://models/llama/v+2/config.json")
        );
        let wrapped = json!({"specversion": "1.0", "data": bridge});
        assert_eq!(
            uris(Sender::Cloudevents, &wrapped),
            plain("s3://models/llama/v+2/config.json")
        );
        let google = json!({"data": {"bucket": "models", "name": "llama/2/config.json"}});
        assert_eq!(
            uris(Sender::Cloudevents, &google),
            plain("gs://models/llama/2/config.json")
        );
        let azure = json!([{"specversion": "1.0", "type": "Microsoft.Storage.BlobCreated", "data": {
            "api": "PutBlob", "url": "https://acme.blob.core.windows.net/models/llama/v%202/config.json"}}]);
        assert_eq!(
            uris(Sender::Cloudevents, &azure),
            plain("az://models/llama/v 2/config.json")
        );
        let elsewhere = json!({"data": {"url": "https://example.org/models/config.json"}});
        assert_eq!(uris(Sender::Cloudevents, &elsewhere), []);
        let own = json!({"data": {"uri": "s3://models/llama/2/", "version": "2"}});
        let named = vec![("s3://models/llama/2/".to_owned(), Some("2".to_owned()))];
        assert_eq!(uris(Sender::Cloudevents, &own), named);
        let mlflow = json!({"entity": "model_version", "action": "created",
            "data": {"name": "llama", "version": 2, "source": "s3://models/llama/2/"}});
        assert_eq!(uris(Sender::Mlflow, &mlflow), named);
        assert_eq!(
            Sender::Huggingface.announced(&json!({})),
            Announced::Everything
        );
    }

    #[test]
    fn data_may_be_text_or_base64_and_topics_wrap_their_events() {
        let named = vec![("s3://models/llama/2/".to_owned(), Some("2".to_owned()))];
        let data = json!({"uri": "s3://models/llama/2/", "version": "2"}).to_string();
        let text = json!({"specversion": "1.0", "datacontenttype": "text/plain", "data": data});
        assert_eq!(uris(Sender::Cloudevents, &text), named);
        let encoded = json!({"specversion": "1.0", "data_base64": BASE64_STANDARD.encode(&data)});
        assert_eq!(uris(Sender::Cloudevents, &encoded), named);
        assert_eq!(
            uris(Sender::Cloudevents, &json!([encoded, {"data": "no JSON"}])),
            named
        );

        let pushed = json!({"message": {"attributes": {"eventType": "OBJECT_FINALIZE",
            "bucketId": "models", "objectId": "llama/2/config.json"}, "data": "e30="}});
        let google = vec![("gs://models/llama/2/config.json".to_owned(), None)];
        assert_eq!(uris(Sender::Cloudevents, &pushed), google);

        let record = json!({"Records": [{"s3": {
            "bucket": {"name": "models"}, "object": {"key": "llama/2/config.json"}}}]});
        let topic = json!({"Type": "Notification", "Message": record.to_string()});
        let amazon = vec![("s3://models/llama/2/config.json".to_owned(), None)];
        assert_eq!(uris(Sender::S3, &topic), amazon);

        let tagged = json!({"data": {"name": "llama", "version": "2", "source": "models:/m-1",
            "tags": {"retune.uri": "s3://models/llama/2/"}}});
        assert_eq!(uris(Sender::Mlflow, &tagged), named);
    }

    #[test]
    fn senders_that_ask_first_are_understood() {
        let asks = |url: &str| json!({"Type": "SubscriptionConfirmation", "SubscribeURL": url});
        let own = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=x";
        assert_eq!(
            Sender::S3.announced(&asks(own)),
            Announced::Confirmation(own.into())
        );
        for foreign in [
            "http://sns.eu-west-1.amazonaws.com/",
            "https://sns.eu-west-1.amazonaws.com.example.org/",
            "https://sns.example.org/?sns.eu.amazonaws.com",
            "https://sns.x.y.amazonaws.com/",
            "https://sns.eu-west-1.amazonaws.com:8443/",
            "https://169.254.169.254/",
        ] {
            assert_eq!(
                Sender::S3.announced(&asks(foreign)),
                Announced::Places(vec![]),
                "{foreign}"
            );
        }
        let grid = json!([{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "data": {"validationCode": "512d38b6", "validationUrl": "https://rp.example/"}}]);
        assert_eq!(
            Sender::Cloudevents.announced(&grid),
            Announced::Validation("512d38b6".into())
        );
    }

    #[test]
    fn what_names_nothing_announces_nothing() {
        for body in [
            json!({}),
            json!([]),
            json!({"Event": "s3:TestEvent"}),
            json!({"Records": [{}]}),
        ] {
            for sender in [Sender::S3, Sender::Cloudevents, Sender::Mlflow] {
                assert_eq!(uris(sender, &body), [], "{sender:?} {body}");
            }
        }
    }
}
