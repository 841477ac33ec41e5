//! Every error of the API: RFC 9457 `application/problem+json` with a stable `code`.
//!
//! `type` is always `about:blank` (the status says what kind of problem it is); clients tell cases
//! apart by `code` and point at the faulty field by `errors[].pointer`.

mod causes;
mod code;
mod documentation;

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::contract::{codes::FailureCode, spec::Fault};

pub use code::{ProblemCode, RefusalCode};
pub use documentation::{BodyRefusals, Missing, QueryRefusals, Refusals};

/// Faults that one answer names, at most.
const MAX_FAULTS: usize = 50;

/// Longest pointer and longest detail of one fault, in bytes: either may quote what was sent.
const FAULT_LIMIT: usize = 1000;

/// When to ask again after a refusal for want of room, in seconds.
const BUSY_PAUSE: u32 = 2;

/// An error as RFC 9457 writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: &'static str,
    /// The HTTP status in words.
    #[schema(value_type = String)]
    title: &'static str,
    status: u16,
    /// Stable and machine-readable, `snake_case`.
    #[schema(value_type = String, example = "invalid_spec")]
    code: RefusalCode,
    /// For people: what is wrong, where, and what to do about it.
    detail: String,
    /// The faulty fields, as JSON pointers into the body (`/name` for a query parameter).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<Fault>,
    /// Seconds for `Retry-After`.
    #[serde(skip)]
    #[schema(ignore)]
    retry_after: u32,
    /// Requests a second of which none is left, for `RateLimit`.
    #[serde(skip)]
    #[schema(ignore)]
    rate_limit: Option<u32>,
}

impl Problem {
    /// A problem without field pointers.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self::of(code.status(), code.into(), detail.into())
    }

    /// 503 for what a job would wait for, as it would say it.
    pub fn unavailable(code: FailureCode, detail: impl Into<String>) -> Self {
        Self::of(StatusCode::SERVICE_UNAVAILABLE, code.into(), detail.into())
    }

    fn of(status: StatusCode, code: RefusalCode, detail: String) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail,
            errors: Vec::new(),
            retry_after: 1,
            rate_limit: None,
        }
    }

    /// 429 where a key has made as many requests as it may in a second.
    pub fn rate_limited(requests_per_second: u32) -> Self {
        let detail = "too many requests with this key; slow down";
        let problem = Self::new(ProblemCode::RateLimited, detail);
        Self {
            rate_limit: Some(requests_per_second),
            ..problem
        }
    }

    /// The same with another `Retry-After`, in seconds; it is sent with 429 and 503.
    pub fn retry_after(self, seconds: u32) -> Self {
        Self {
            retry_after: seconds,
            ..self
        }
    }

    /// 422 with the faulty fields, of which so many are named and no more.
    pub fn invalid(code: impl Into<RefusalCode>, mut faults: Vec<Fault>) -> Self {
        let count = faults.len();
        faults.truncate(MAX_FAULTS);
        for fault in &mut faults {
            shorten(&mut fault.pointer);
            shorten(&mut fault.detail);
        }

        let detail = match faults.as_slice() {
            [] => "the request cannot be processed".to_owned(),
            [one] if one.pointer.is_empty() => one.detail.clone(),
            [one] => format!("{}: {}", one.pointer, one.detail),
            _ if count <= MAX_FAULTS => format!("{count} fields are at fault"),
            _ => format!("{count} fields are at fault; the first {MAX_FAULTS} are named"),
        };

        Self {
            errors: faults,
            ..Self::of(StatusCode::UNPROCESSABLE_ENTITY, code.into(), detail)
        }
    }

    /// 422 for one query parameter.
    pub fn invalid_query(name: &str, detail: impl Into<String>) -> Self {
        Self::invalid(
            ProblemCode::InvalidQuery,
            vec![Fault::new(format!("/{name}"), detail)],
        )
    }

    /// 404 for something that does not exist, or belongs to another tenant.
    pub fn not_found(what: &str) -> Self {
        Self::new(ProblemCode::NotFound, format!("no such {what}"))
    }

    /// 503 where as many of these are under way as there is room for.
    pub fn busy(what: &str) -> Self {
        let detail = format!("as many {what} are under way as this service takes; try again");
        Self::new(ProblemCode::Busy, detail).retry_after(BUSY_PAUSE)
    }

    /// 500; the cause is logged, never shown.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(
            ProblemCode::Internal,
            "the service failed to answer; its log has the cause under this request's x-request-id",
        )
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub fn code(&self) -> &'static str {
        self.code.name()
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, retry_after) = (self.status(), self.code, self.retry_after);
        let rate_limit = self.rate_limit;
        let mut response = (status, Json(self)).into_response();
        // For the audit log.
        response.extensions_mut().insert(code);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
        }
        if let Some(requests_per_second) = rate_limit {
            rate_limit_headers(headers, requests_per_second, retry_after);
        }
        response
    }
}

/// `RateLimit` and `RateLimit-Policy`, as the IETF's draft has them (draft-ietf-httpapi-ratelimit-headers-10).
fn rate_limit_headers(headers: &mut HeaderMap, requests_per_second: u32, retry_after: u32) {
    let fields = [
        (
            "ratelimit-policy",
            format!("\"requests\";q={requests_per_second};w=1"),
        ),
        ("ratelimit", format!("\"requests\";r=0;t={retry_after}")),
    ];
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

fn shorten(text: &mut String) {
    if text.len() > FAULT_LIMIT {
        text.truncate(text.floor_char_boundary(FAULT_LIMIT));
        text.push('…');
    }
}

/// What was looked for: where there is none, the answer is 404.
pub trait Found<T> {
    /// # Errors
    /// `not_found`, naming `what` it would be.
    fn found(self, what: &str) -> Result<T, Problem>;
}

impl<T> Found<T> for Option<T> {
    fn found(self, what: &str) -> Result<T, Problem> {
        self.ok_or_else(|| Problem::not_found(what))
    }
}

/// The answer of every removal: 204, or 404 where there was nothing to remove.
///
/// # Errors
/// `not_found`, naming `what` it would be.
pub fn removed(known: bool, what: &str) -> Result<StatusCode, Problem> {
    known.then_some(StatusCode::NO_CONTENT).found(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fault_is_repeated_in_the_detail_and_many_are_counted() {
        let one = Problem::invalid(
            FailureCode::InvalidSpec,
            vec![Fault::new("/gate", "give min")],
        );
        assert_eq!(one.detail(), "/gate: give min");
        let two = Problem::invalid(
            ProblemCode::InvalidBody,
            vec![Fault::new("/a", "b"), Fault::new("/c", "d")],
        );
        assert_eq!(two.detail(), "2 fields are at fault");
        assert_eq!(two.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }

    #[test]
    fn of_very_many_faults_the_first_are_named() {
        let faults = (0..80_000).map(|i| Fault::new(format!("/methods/{i}"), "x".repeat(5000)));
        let problem = Problem::invalid(FailureCode::InvalidSpec, faults.collect());
        assert_eq!(
            problem.detail(),
            "80000 fields are at fault; the first 50 are named"
        );
        assert_eq!(problem.errors.len(), 50);
        assert!(serde_json::to_vec(&problem).unwrap().len() < 60_000);
    }

    #[test]
    fn a_rate_limited_answer_says_the_limit_and_when_it_begins_anew() {
        let response = Problem::rate_limited(20).into_response();
        let headers = response.headers();
        assert_eq!(headers["ratelimit-policy"], "\"requests\";q=20;w=1");
        assert_eq!(headers["ratelimit"], "\"requests\";r=0;t=1");
        assert_eq!(
            (response.status().as_u16(), &headers["retry-after"]),
            (429, &"1".parse().unwrap())
        );
    }

    #[test]
    fn the_response_is_problem_json_and_says_how_to_authenticate() {
        let response = Problem::new(ProblemCode::Unauthenticated, "no key").into_response();
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    }
}
