//! What a handler may take from a request, refused as [`Problem`]s instead of axum's plain text.
//!
//! [`JsonBody`] reads the body in steps, each with its own code: content type and encoding (415), size (413),
//! JSON (400), NUL characters (422, `jsonb` cannot hold them), shape (422 with a pointer).

use std::{str::FromStr, time::Duration};

use axum::{
    body::{Bytes, HttpBody},
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::problem::{Problem, ProblemCode};
use crate::contract::spec::{Fault, objects::Objects};

/// How long a body may take to come, as the request says in its extensions; without that, as by default.
#[derive(Clone, Copy, Debug)]
pub struct BodyTimeout(pub Duration);

impl Default for BodyTimeout {
    fn default() -> Self {
        Self(Duration::from_secs(30))
    }
}

/// A JSON body of shape `T`.
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = read(request, state).await?;
        let value = parse(&bytes)?;
        shape(&value).map(Self)
    }
}

/// A JSON body of shape `T`, or none at all, which stands for the default as null does.
pub struct OptionalJsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if request.body().size_hint().exact() == Some(0) {
            return Ok(Self(T::default()));
        }

        let bytes = read(request, state).await?;
        match parse(&bytes)? {
            Value::Null => Ok(Self(T::default())),
            value => shape(&value).map(Self),
        }
    }
}

async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::new(
            ProblemCode::UnsupportedMediaType,
            "send JSON, with content-type: application/json",
        ));
    }
    if let Some(encoding) = encoding(request.headers()) {
        return Err(Problem::new(
            ProblemCode::UnsupportedContentEncoding,
            format!(
                "the body is encoded as {encoding:?}; send it as it is, without content-encoding"
            ),
        ));
    }

    let BodyTimeout(timeout) = request.extensions().get().copied().unwrap_or_default();
    let reading = tokio::time::timeout(timeout, Bytes::from_request(request, state));
    let Ok(bytes) = reading.await else {
        return Err(Problem::new(
            ProblemCode::BodyTooSlow,
            format!("the body did not come within {} s", timeout.as_secs()),
        ));
    };

    bytes.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::new(
                ProblemCode::BodyTooLarge,
                "the body is larger than this service accepts (http.body_limit)",
            )
        } else {
            Problem::new(
                ProblemCode::UnreadableBody,
                "the body broke off before its end",
            )
        }
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// What a body is encoded by, if not by nothing (RFC 9110, section 8.4).
fn encoding(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::CONTENT_ENCODING);
    values
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|coding| String::from_utf8_lossy(coding.trim_ascii()).to_ascii_lowercase())
        .find(|coding| !coding.is_empty() && coding != "identity")
}

fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let value = serde_json::from_slice(bytes).map_err(|error| {
        Problem::new(
            ProblemCode::MalformedJson,
            format!("the body is not JSON: {error}"),
        )
    })?;

    let mut faults = Vec::new();
    find_nul(&value, &mut String::new(), &mut faults);
    if faults.is_empty() {
        Ok(value)
    } else {
        Err(Problem::invalid(ProblemCode::InvalidText, faults))
    }
}

fn has_nul(pointer: &str) -> Fault {
    Fault::new(pointer, "must not contain NUL characters")
}

fn find_nul(value: &Value, pointer: &mut String, faults: &mut Vec<Fault>) {
    let length = pointer.len();
    match value {
        Value::String(text) if text.contains('\0') => faults.push(has_nul(pointer)),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                *pointer += &format!("/{i}");
                find_nul(item, pointer, faults);
                pointer.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                *pointer += &format!("/{}", key.replace('~', "~0").replace('/', "~1"));
                if key.contains('\0') {
                    faults.push(has_nul(pointer));
                }
                find_nul(field, pointer, faults);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}

fn shape<T: DeserializeOwned>(value: &Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(Objects(value)).map_err(|error| {
        let path = error.path().to_string();
        let pointer = if path == "." {
            String::new()
        } else {
            format!("/{}", path.replace('.', "/"))
        };
        Problem::invalid(
            ProblemCode::InvalidBody,
            vec![Fault::new(pointer, error.inner().to_string())],
        )
    })
}

/// The query string as pairs in their order; NUL is refused, for no value with it can be stored.
pub struct QueryPairs(pub Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for QueryPairs {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        match pairs
            .iter()
            .find(|(name, value)| name.contains('\0') || value.contains('\0'))
        {
            Some((name, _)) => {
                let name = name.replace('\0', "");
                Err(Problem::invalid_query(
                    &name,
                    "must not contain NUL characters",
                ))
            }
            None => Ok(Self(pairs)),
        }
    }
}

/// The `{id}` of a path. What is not a UUID names nothing: 404, as for an unknown id.
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: From<Uuid>> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(id) = Path::<Uuid>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::not_found("id"))?;
        Ok(Self(id.into()))
    }
}

/// The `{id}` of a path, and the name after it, with what slashes it has; see [`Id`].
pub struct IdAndName<T>(pub T, pub String);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for IdAndName<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(values) = Path::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::not_found("file"))?;

        let mut values = values.into_iter().map(|(_, value)| value);
        let id = values
            .next()
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| Problem::not_found("file"))?;
        Ok(Self(id, values.collect::<Vec<_>>().join("/")))
    }
}

/// The name in a path. What cannot be a name names nothing: 404, as for an unknown one.
pub struct Name(pub String);

/// The two names in a path; see [`Name`].
pub struct TwoNames(pub String, pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        names(parts, state).await.map(|[name]| Self(name))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for TwoNames {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        names(parts, state)
            .await
            .map(|[first, second]| Self(first, second))
    }
}

async fn names<S: Send + Sync, const N: usize>(
    parts: &mut Parts,
    state: &S,
) -> Result<[String; N], Problem> {
    let Path(names) = Path::<Vec<String>>::from_request_parts(parts, state)
        .await
        .map_err(|_| Problem::not_found("name"))?;
    if names.iter().any(|name| name.contains('\0')) {
        return Err(Problem::not_found("name"));
    }

    names.try_into().map_err(|_| Problem::not_found("name"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Named {
        name: String,
    }

    async fn refusal(content_type: Option<&str>, body: &str) -> (u16, String, Vec<String>) {
        let mut request = axum::http::Request::post("/");
        if let Some(kind) = content_type {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let problem = match JsonBody::<Named>::from_request(request, &()).await {
            Err(problem) => serde_json::to_value(problem).unwrap(),
            Ok(JsonBody(named)) => panic!("accepted {}", named.name),
        };
        let pointers = problem["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|error| error["pointer"].as_str().unwrap().to_owned())
            .collect();
        (
            u16::try_from(problem["status"].as_u64().unwrap()).unwrap(),
            problem["code"].as_str().unwrap().to_owned(),
            pointers,
        )
    }

    #[tokio::test]
    async fn each_step_of_reading_a_body_has_its_own_code() {
        let json = Some("application/json");
        assert_eq!(refusal(None, "{}").await.1, "unsupported_media_type");
        assert_eq!(refusal(Some("text/plain"), "{}").await.0, 415);
        assert_eq!(
            refusal(json, "{").await,
            (400, "malformed_json".into(), vec![])
        );
        assert_eq!(
            refusal(json, "").await,
            (400, "malformed_json".into(), vec![])
        );
        assert_eq!(
            refusal(json, "{\"name\": 3}").await,
            (422, "invalid_body".into(), vec!["/name".into()])
        );
        assert_eq!(
            refusal(json, "[\"a\"]").await,
            (422, "invalid_body".into(), vec![String::new()])
        );
        assert_eq!(
            refusal(json, "{\"name\": \"a\\u0000\"}").await,
            (422, "invalid_text".into(), vec!["/name".into()])
        );
    }

    #[test]
    fn nul_is_found_in_keys_and_values_at_any_depth() {
        let mut faults = Vec::new();
        find_nul(
            &json!({"a": [1, "x\0"], "b/c\0": 1}),
            &mut String::new(),
            &mut faults,
        );
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/a/1", "/b~1c\0"]);
    }
}
