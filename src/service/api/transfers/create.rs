//! `POST /v1/transfers`: queues a job.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::Value;

use super::{callback, locations};
use crate::{
    contract::spec::Spec,
    service::{
        api::{
            AppState,
            authentication::Submitter,
            extract::JsonBody,
            idempotency,
            problem::{BodyRefusals, Problem, Refusals},
        },
        database::transfers::Enqueue,
        domain::transfers::Transfer,
        registry::submit::{EnqueueError, Enqueued, submit},
    },
    telemetry::traces,
};

impl From<EnqueueError> for Problem {
    fn from(error: EnqueueError) -> Self {
        match error {
            EnqueueError::KeyReused(reused) => reused.into(),
            EnqueueError::QuotaExceeded(exceeded) => exceeded.into(),
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
    locations::check(&spec, &state.storage(caller.tenant))?;
    callback::check(&spec, &state.settings.webhooks)?;
    let stored = serde_json::to_value(&spec).map_err(Problem::internal)?;
    let metadata = serde_json::to_value(&spec.metadata).map_err(Problem::internal)?;
    let new = Enqueue {
        tenant: caller.tenant,
        idempotency: idempotency::of(&headers, &stored)?,
        spec: stored,
        metadata,
        max_attempts: state.settings.worker.max_attempts,
    };

    let quotas = &state.settings.quotas;
    let Enqueued { transfer, replayed } = submit(&state.database, caller, new, quotas).await?;
    if !replayed {
        traces::submitted(transfer.id.0);
    }
    let mut response = super::show(StatusCode::ACCEPTED, &transfer);
    let location = HeaderValue::try_from(format!("/v1/transfers/{}", transfer.id));
    response
        .headers_mut()
        .insert(header::LOCATION, location.map_err(Problem::internal)?);

    Ok(response)
}
