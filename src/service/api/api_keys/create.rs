//! `POST /v1/api_keys`.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    contract::spec::Fault,
    service::{
        api::{
            AppState,
            authentication::{Administrator, KEY_ENDED, unauthenticated},
            extract::JsonBody,
            problem::{BodyRefusals, Problem, ProblemCode, Refusals},
        },
        domain::access::{ApiKey, Role},
        registry::keys::{self, CreateError},
    },
};

/// Longest accepted name, in bytes.
const NAME_LIMIT: usize = 200;

/// The key wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKey {
    /// What it is for.
    #[schema(min_length = 1, max_length = 200, pattern = r"\S")]
    name: String,
    role: Role,
    /// From when on it is refused; never when absent.
    #[serde(default, with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
}

/// The key made, with its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedApiKey {
    #[serde(flatten)]
    key: ApiKey,
    /// The key itself; shown this once and never stored.
    secret: String,
}

impl From<CreateError> for Problem {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Database(error) => error.into(),
            CreateError::UnknownTenant(_) | CreateError::Randomness(_) => Self::internal(error),
        }
    }
}

/// Make a key for the caller's tenant.
///
/// The first one ends that a service on loopback runs open: from then on every request needs a key.
#[utoipa::path(
    post,
    path = "/v1/api_keys",
    tag = "api_keys",
    operation_id = "create_api_key",
    request_body = NewApiKey,
    responses(
        (status = 201, body = CreatedApiKey),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`invalid_body`, `invalid_text`"),
        BodyRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    JsonBody(wanted): JsonBody<NewApiKey>,
) -> Result<Response, Problem> {
    // The body may have taken its time, and a key may have been made meanwhile.
    if !state.still_holds(caller).await? {
        return Err(unauthenticated(KEY_ENDED));
    }

    let name = wanted.name.trim();
    if name.is_empty() || name.len() > NAME_LIMIT {
        let detail = format!("1 to {NAME_LIMIT} bytes of text");
        return Err(Problem::invalid(
            ProblemCode::InvalidBody,
            vec![Fault::new("/name", detail)],
        ));
    }
    if wanted
        .expires_at
        .is_some_and(|end| end <= OffsetDateTime::now_utc())
    {
        let fault = Fault::new("/expires_at", "must lie in the future");
        return Err(Problem::invalid(ProblemCode::InvalidBody, vec![fault]));
    }

    let (key, secret) = keys::create(
        &state.database,
        name,
        caller,
        wanted.role,
        wanted.expires_at,
    )
    .await?;
    state.require_keys();
    let secret_is_not_kept = [(header::CACHE_CONTROL, "no-store")];
    let body = Json(CreatedApiKey { key, secret });

    Ok((StatusCode::CREATED, secret_is_not_kept, body).into_response())
}
