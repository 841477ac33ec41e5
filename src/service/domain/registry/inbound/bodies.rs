//! What each sender writes into the body of a notification, and where in it the places stand.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use url::Url;

use super::{Announced, Hint};

fn object(scheme: &str, bucket: &Value, key: &str) -> Option<Hint> {
    Some(Hint {
        uri: format!("{scheme}://{}/{key}", bucket.as_str()?),
        version: None,
    })
}

/// `Records[].s3` with keys as in a form (`+` is a space), or `EventBridge`'s `detail` with plain ones.
pub(super) fn s3(body: &Value) -> Vec<Hint> {
    let records = body["Records"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(s3_record);
    let detail = &body["detail"];
    let bridged = detail["object"]["key"]
        .as_str()
        .and_then(|key| object("s3", &detail["bucket"]["name"], key));
    records.chain(bridged).collect()
}

fn s3_record(record: &Value) -> Option<Hint> {
    let key = record["s3"]["object"]["key"].as_str()?;
    let pair = format!("key={key}");
    let (_, key) = url::form_urlencoded::parse(pair.as_bytes()).next()?;
    object("s3", &record["s3"]["bucket"]["name"], &key)
}

/// What a topic of Amazon's SNS says: S3's event as a text, or a question. Without its envelope (raw
/// delivery) it is the event itself.
pub(super) fn sns(body: &Value) -> Option<Announced> {
    match body["Type"].as_str()? {
        "Notification" => {
            let message = serde_json::from_str(body["Message"].as_str()?).ok()?;
            Some(Announced::Places(s3(&message)))
        }
        "SubscriptionConfirmation" => {
            let address = body["SubscribeURL"]
                .as_str()
                .filter(|address| is_of_sns(address))?;
            Some(Announced::Confirmation(address.to_owned()))
        }
        _ => None,
    }
}

/// Whether an address is one of SNS itself; a stranger could name any.
fn is_of_sns(address: &str) -> bool {
    let Ok(url) = Url::parse(address) else {
        return false;
    };

    let host = url.host_str().unwrap_or_default();
    let region = host.strip_prefix("sns.").and_then(|rest| {
        rest.strip_suffix(".amazonaws.com")
            .or(rest.strip_suffix(".amazonaws.com.cn"))
    });
    url.scheme() == "https"
        && url.port().is_none()
        && region.is_some_and(|region| {
            !region.is_empty()
                && region
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

/// The code that Event Grid's own schema wants to hear again before it notifies.
pub(super) fn validation(body: &Value) -> Option<&str> {
    let event = body
        .as_array()
        .map_or(body, |events| events.first().unwrap_or(body));
    let kind = event["eventType"].as_str()?;
    (kind == "Microsoft.EventGrid.SubscriptionValidationEvent")
        .then(|| event["data"]["validationCode"].as_str())?
}

pub(super) fn cloudevents(body: &Value) -> Vec<Hint> {
    if let Some(batch) = body.as_array() {
        return batch.iter().flat_map(structured).collect();
    }
    if let Some(hint) = pubsub(&body["message"]) {
        return vec![hint];
    }
    structured(body)
}

/// The data of an event may be JSON, JSON as a text, or that text in base64.
fn structured(event: &Value) -> Vec<Hint> {
    let text = match (&event["data"], &event["data_base64"]) {
        (Value::String(text), _) => text.clone().into_bytes(),
        (Value::Null, Value::String(encoded)) => {
            BASE64_STANDARD.decode(encoded).unwrap_or_default()
        }
        (data, _) => return cloudevent(data),
    };
    serde_json::from_slice(&text).map_or_else(|_| Vec::new(), |data| cloudevent(&data))
}

/// What Cloud Storage says through Pub/Sub.
fn pubsub(message: &Value) -> Option<Hint> {
    let attributes = &message["attributes"];
    object(
        "gs",
        &attributes["bucketId"],
        attributes["objectId"].as_str()?,
    )
}

fn cloudevent(data: &Value) -> Vec<Hint> {
    if let Some(uri) = data["uri"].as_str() {
        let version = data["version"].as_str().map(str::to_owned);
        return vec![Hint {
            uri: uri.to_owned(),
            version,
        }];
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

    let path = percent_encoding::percent_decode_str(url.path())
        .decode_utf8()
        .ok()?;

    Some(format!("az:/{path}"))
}

pub(super) fn mlflow(body: &Value) -> Option<Hint> {
    let data = &body["data"];
    let located = data["tags"]["retune.uri"].as_str();
    let uri = located.or(data["source"].as_str())?.to_owned();
    let version = match &data["version"] {
        Value::String(version) => Some(version.clone()),
        Value::Number(version) => Some(version.to_string()),
        _ => None,
    };

    Some(Hint { uri, version })
}
