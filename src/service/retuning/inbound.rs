//! What object stores and registries say when something has landed: locations, as hints.
//!
//! A notification proves nothing: it may come twice, late, out of order, or before the last file. What
//! it names is looked at in storage before it counts.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use url::Url;
use utoipa::ToSchema;
use uuid::Uuid;

/// An address for notifications; its token is not in it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InboundToken {
    pub id: Uuid,
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

/// Who notifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    /// S3's own events, or the same by `EventBridge`.
    S3,
    /// `CloudEvents` 1.0, structured, binary or a batch: `data.uri`, or an object of Google's, Azure's or
    /// S3's.
    Cloudevents,
    /// The hub's webhooks. The hub is no object store: whatever has come to the folder is looked at.
    Huggingface,
    /// A model version's `source`.
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
}

impl Sender {
    /// Reads a notification; one that names nothing (a test message, another kind of event) announces
    /// no places.
    pub fn announced(self, body: &Value) -> Announced {
        match self {
            Self::S3 => Announced::Places(s3(body)),
            Self::Cloudevents => Announced::Places(cloudevents(body)),
            Self::Mlflow => Announced::Places(mlflow(body).into_iter().collect()),
            Self::Huggingface => Announced::Everything,
        }
    }
}

fn object(scheme: &str, bucket: &Value, key: &str) -> Option<Hint> {
    Some(Hint { uri: format!("{scheme}://{}/{key}", bucket.as_str()?), version: None })
}

/// `Records[].s3` with keys as in a form (`+` is a space), or `EventBridge`'s `detail` with plain ones.
fn s3(body: &Value) -> Vec<Hint> {
    let record = |record: &Value| {
        let key = record["s3"]["object"]["key"].as_str()?;
        let pair = format!("key={key}");
        let (_, key) = url::form_urlencoded::parse(pair.as_bytes()).next()?;
        object("s3", &record["s3"]["bucket"]["name"], &key)
    };
    let records = body["Records"].as_array().into_iter().flatten().filter_map(record);
    let detail = &body["detail"];
    let bridged = detail["object"]["key"]
        .as_str()
        .and_then(|key| object("s3", &detail["bucket"]["name"], key));
    records.chain(bridged).collect()
}

fn cloudevents(body: &Value) -> Vec<Hint> {
    if let Some(batch) = body.as_array() {
        return batch.iter().flat_map(|event| cloudevent(&event["data"])).collect();
    }
    cloudevent(&body["data"])
}

fn cloudevent(data: &Value) -> Vec<Hint> {
    if let Some(uri) = data["uri"].as_str() {
        let version = data["version"].as_str().map(str::to_owned);
        return vec![Hint { uri: uri.to_owned(), version }];
    }
    // Google's `storage.object.v1.finalized`.
    if let Some(key) = data["name"].as_str() {
        return object("gs", &data["bucket"], key).into_iter().collect();
    }
    // Event Grid's `Microsoft.Storage.BlobCreated`.
    if let Some(uri) = data["url"].as_str().and_then(azure) {
        return vec![Hint { uri, version: None }];
    }
    s3(data)
}

/// `https://account.blob.core.windows.net/container/key` as `az://container/key`.
fn azure(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    let host = url.host_str()?;
    let kind = host.split_once('.').map(|(_, service)| service)?;
    if !kind.starts_with("blob.") && !kind.starts_with("dfs.") {
        return None;
    }
    let path = percent_encoding::percent_decode_str(url.path()).decode_utf8().ok()?;
    Some(format!("az:/{path}"))
}

fn mlflow(body: &Value) -> Option<Hint> {
    let data = &body["data"];
    let uri = data["source"].as_str()?.to_owned();
    let version = match &data["version"] {
        Value::String(version) => Some(version.clone()),
        Value::Number(version) => Some(version.to_string()),
        _ => None,
    };
    Some(Hint { uri, version })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn uris(sender: Sender, body: &Value) -> Vec<(String, Option<String>)> {
        match sender.announced(body) {
            Announced::Places(hints) => hints.into_iter().map(|h| (h.uri, h.version)).collect(),
            Announced::Everything => panic!("everything"),
        }
    }

    #[test]
    fn every_sender_names_places_its_own_way() {
        let plain = |uri: &str| vec![(uri.to_owned(), None)];
        let record = json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {
            "bucket": {"name": "models"}, "object": {"key": "llama/v+2/config.json"}}}]});
        assert_eq!(uris(Sender::S3, &record), plain("s3://models/llama/v 2/config.json"));
        let bridge = json!({"detail-type": "Object Created", "detail": {
            "bucket": {"name": "models"}, "object": {"key": "llama/v+2/config.json"}}});
        assert_eq!(uris(Sender::S3, &bridge), plain("s3://models/llama/v+2/config.json"));
        let wrapped = json!({"specversion": "1.0", "data": bridge});
        assert_eq!(uris(Sender::Cloudevents, &wrapped), plain("s3://models/llama/v+2/config.json"));
        let google = json!({"data": {"bucket": "models", "name": "llama/2/config.json"}});
        assert_eq!(uris(Sender::Cloudevents, &google), plain("gs://models/llama/2/config.json"));
        let azure = json!([{"specversion": "1.0", "type": "Microsoft.Storage.BlobCreated", "data": {
            "api": "PutBlob", "url": "https://acme.blob.core.windows.net/models/llama/v%202/config.json"}}]);
        assert_eq!(uris(Sender::Cloudevents, &azure), plain("az://models/llama/v 2/config.json"));
        let elsewhere = json!({"data": {"url": "https://example.org/models/config.json"}});
        assert_eq!(uris(Sender::Cloudevents, &elsewhere), []);
        let own = json!({"data": {"uri": "s3://models/llama/2/", "version": "2"}});
        let named = vec![("s3://models/llama/2/".to_owned(), Some("2".to_owned()))];
        assert_eq!(uris(Sender::Cloudevents, &own), named);
        let mlflow = json!({"entity": "model_version", "action": "created",
            "data": {"name": "llama", "version": 2, "source": "s3://models/llama/2/"}});
        assert_eq!(uris(Sender::Mlflow, &mlflow), named);
        assert_eq!(Sender::Huggingface.announced(&json!({})), Announced::Everything);
    }

    #[test]
    fn what_names_nothing_announces_nothing() {
        for body in
            [json!({}), json!([]), json!({"Event": "s3:TestEvent"}), json!({"Records": [{}]})]
        {
            for sender in [Sender::S3, Sender::Cloudevents, Sender::Mlflow] {
                assert_eq!(uris(sender, &body), [], "{sender:?} {body}");
            }
        }
    }
}
