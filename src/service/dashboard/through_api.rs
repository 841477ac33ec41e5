//! What the pages change, they change by asking the API, in this process: with the caller's key, so that
//! role, quota, rate limit and audit log are the API's own. A page can do nothing that a program cannot.

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::Value;
use tower::ServiceExt;

use super::{error::PageError, refusal::Refusal, visit::forms::Posted};

/// Longest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 16 << 20;

/// The routes of the API.
#[derive(Clone)]
pub struct Api(Router);

/// A change that is asked for.
pub struct Change<'a> {
    pub method: Method,
    /// From `/v1` on, its parts percent-encoded.
    pub path: &'a str,
    pub body: Option<Value>,
    /// Makes a form that is sent twice harmless.
    pub once: Option<&'a str>,
}

impl<'a> Change<'a> {
    /// A `POST` without a body.
    pub fn post(path: &'a str) -> Self {
        Self {
            method: Method::POST,
            path,
            body: None,
            once: None,
        }
    }

    pub fn with(self, body: Value) -> Self {
        Self {
            body: Some(body),
            ..self
        }
    }
}

impl Api {
    pub fn new(routes: Router) -> Self {
        Self(routes)
    }

    /// Asks for a change with the key of who posted the form; the body of the answer.
    ///
    /// # Errors
    /// [`PageError::Refused`] with what the API says; [`PageError::NoKey`] where it knows no such caller.
    pub async fn ask(&self, posted: &Posted, change: Change<'_>) -> Result<Value, PageError> {
        let mut request = Request::builder().method(change.method).uri(change.path);
        if let Some(key) = &posted.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        if let Some(once) = change.once {
            request = request.header("idempotency-key", once);
        }
        let body = match change.body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };

        // A path or key that is none names nothing.
        let request = request.body(body).map_err(|_| PageError::NotFound)?;
        let answer = match self.0.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };

        let status = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), ANSWER_LIMIT).await;
        let body = bytes
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }

        Err(match status {
            StatusCode::UNAUTHORIZED => PageError::NoKey,
            status => PageError::Refused(Refusal::read(status, &body)),
        })
    }
}
