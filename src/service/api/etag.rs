//! Entity tags: what a reader has seen already is not sent again (RFC 9110, 8.8.3).

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::problem::Problem;

/// Weak, for the same revision may be written differently by another version of the service.
pub fn of_revision(revision: i64) -> HeaderValue {
    HeaderValue::try_from(format!("W/\"{revision}\""))
        .unwrap_or(HeaderValue::from_static("W/\"0\""))
}

/// A representation with the tag of its content; 304 without it where the reader knows that.
///
/// # Errors
/// When it cannot be written.
pub fn show(known: &HeaderMap, value: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(Problem::internal)?;
    let digest = &hex::encode(Sha256::digest(&body))[..32];
    let tag = HeaderValue::try_from(format!("W/\"{digest}\"")).map_err(Problem::internal)?;
    Ok(tagged(known, tag, body))
}

/// The same with a tag of the caller's.
///
/// # Errors
/// When it cannot be written.
pub fn show_as(
    known: &HeaderMap,
    tag: HeaderValue,
    value: &impl Serialize,
) -> Result<Response, Problem> {
    Ok(tagged(
        known,
        tag,
        serde_json::to_vec(value).map_err(Problem::internal)?,
    ))
}

fn tagged(known: &HeaderMap, tag: HeaderValue, body: Vec<u8>) -> Response {
    let mut response = if matches(known.get(header::IF_NONE_MATCH), &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = [(header::CONTENT_TYPE, "application/json")];
        (kind, Body::from(body)).into_response()
    };

    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    response
}

/// Weak comparison of an `If-None-Match` list (RFC 9110, 13.1.2). `If-Match` is read the same way:
/// the tags are weak because of how they are written, not because they let changes pass.
pub fn matches(known: Option<&HeaderValue>, etag: &HeaderValue) -> bool {
    let (Some(Ok(known)), Ok(etag)) = (known.map(HeaderValue::to_str), etag.to_str()) else {
        return false;
    };
    known.trim() == "*" || known.split(',').any(|tag| strong(tag) == strong(etag))
}

/// A tag without its mark of weakness.
fn strong(tag: &str) -> &str {
    tag.trim().trim_start_matches("W/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly_and_in_lists() {
        let etag = HeaderValue::from_static("W/\"7\"");
        for (known, expected) in [
            ("W/\"7\"", true),
            ("\"7\"", true),
            ("\"6\", W/\"7\"", true),
            ("*", true),
            ("\"77\"", false),
        ] {
            let known = HeaderValue::from_static(known);
            assert_eq!(matches(Some(&known), &etag), expected, "{known:?}");
        }
        assert!(!matches(None, &etag));
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let first = show(&HeaderMap::new(), &"a").unwrap();
        assert_eq!(first.status(), StatusCode::OK);
        let mut known = HeaderMap::new();
        known.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(
            show(&known, &"a").unwrap().status(),
            StatusCode::NOT_MODIFIED
        );
        assert_eq!(show(&known, &"b").unwrap().status(), StatusCode::OK);
    }
}
