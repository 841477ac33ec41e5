//! `POST /v1/transfers`: queues a job.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{callback, locations};
use crate::{
    service::{
        api::{
            AppState,
            authentication::Submitter,
            extract::JsonBody,
            problem::{BodyRefusals, Problem, Refusals},
        },
        database::transfers::{self, Enqueue, EnqueueError, Idempotency},
        jobs::Transfer,
    },
    spec::{Fault, Spec},
};

/// Longest accepted idempotency key, in bytes.
const KEY_LIMIT: usize = 255;

/// When to ask again after a quota was used up, in seconds.
const QUOTA_PAUSE: u32 = 60;

impl From<EnqueueError> for Problem {
    fn from(error: EnqueueError) -> Self {
        match error {
            EnqueueError::IdempotencyConflict => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this Idempotency-Key came with another body before; use a new key for a new job",
            ),
            EnqueueError::QuotaExceeded(exceeded) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "quota_exceeded", exceeded.to_string())
                    .retry_after(QUOTA_PAUSE)
            }
            EnqueueError::Database(error) => error.into(),
        }
    }
}

/// Submit a job.
///
/// With an `Idempotency-Key`, the same key and body again answer with the same transfer.
#[utoipa::path(
    post,
    path = "/v1/transfers",
    tag = "transfers",
    operation_id = "create_transfer",
    params(("Idempotency-Key" = Option<String>, Header, description = "Up to 255 visible ASCII characters; makes a repeated request harmless")),
    request_body = Spec,
    responses(
        (status = 202, body = Transfer, description = "Queued, or queued before under this key",
         headers(("Location" = String), ("ETag" = String))),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`invalid_spec`, `invalid_text`, `location_not_allowed`, `address_not_allowed`, `idempotency_key_reused`, `invalid_idempotency_key`"),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "`quota_exceeded`, `rate_limited`"),
        BodyRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Problem> {
    let spec = Spec::from_json(&body)?;
    locations::check(&spec, &state.storage)?;
    callback::check(&spec, &state.settings.webhooks)?;
    let stored = serde_json::to_value(&spec).map_err(Problem::internal)?;
    let metadata = serde_json::to_value(&spec.metadata).map_err(Problem::internal)?;
    let new = Enqueue {
        tenant: caller.tenant,
        idempotency: idempotency(&headers, &stored)?,
        spec: stored,
        metadata,
        max_attempts: state.settings.worker.max_attempts,
    };
    let quotas = &state.settings.quotas;
    let transfer = transfers::submit(&state.database, caller, new, quotas).await?.transfer;
    let mut response = super::show(StatusCode::ACCEPTED, &transfer);
    let location = HeaderValue::try_from(format!("/v1/transfers/{}", transfer.id));
    response.headers_mut().insert(header::LOCATION, location.map_err(Problem::internal)?);
    Ok(response)
}

/// The request is remembered by the digest of the specification as read: spelling and order of
/// fields do not make it another one.
fn idempotency(headers: &HeaderMap, spec: &Value) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    match key.to_str() {
        Ok(key) if (1..=KEY_LIMIT).contains(&key.len()) => Ok(Some(Idempotency {
            key: key.to_owned(),
            request_sha256: Sha256::digest(spec.to_string()).into(),
        })),
        _ => Err(Problem::invalid(
            "invalid_idempotency_key",
            vec![Fault::new("", "Idempotency-Key has 1 to 255 visible ASCII characters")],
        )),
    }
}
