//! `POST /v1/base_models/{name}/inbound_tokens`.

use std::ops::RangeInclusive;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    contract::{ids::InboundTokenId, spec::Fault},
    service::{
        api::{
            AppState,
            authentication::Administrator,
            extract::{JsonBody, Name},
            problem::{BodyRefusals, Found, Missing, Problem, ProblemCode, Refusals},
        },
        database::inbound_tokens::NewInbound,
        domain::access::Secret,
        registry::inbound_addresses,
    },
};

/// How often a folder may be listed unasked: from every half minute to once a month.
const POLL_SECONDS: RangeInclusive<i32> = 30..=2_592_000;

/// Where versions land.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInboundToken {
    /// A folder below an allowed root; each folder in it is a version of that name. A notification
    /// that names anything else is ignored.
    #[schema(min_length = 1)]
    prefix: String,
    /// List the folder this often, in seconds, notified or not; null: never. Every folder in it that
    /// was not there before is then announced.
    #[schema(minimum = 30, maximum = 2_592_000)]
    #[serde(default)]
    poll_seconds: Option<i32>,
}

/// The address made.
#[derive(Debug, Serialize, ToSchema)]
pub struct MadeInboundToken {
    #[schema(value_type = Uuid)]
    id: InboundTokenId,
    prefix: String,
    poll_seconds: Option<i32>,
    /// The end of the paths `/v1/inbound/{sender}/{token}`; shown this once and never stored.
    token: String,
}

/// Make an address for notifications.
#[utoipa::path(
    post,
    path = "/v1/base_models/{name}/inbound_tokens",
    tag = "base_models",
    operation_id = "create_inbound_token",
    params(("name" = String, Path, description = "The base model")),
    request_body = NewInboundToken,
    responses(
        (status = 201, body = MadeInboundToken),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`invalid_body`, `invalid_text`, `location_not_allowed`"),
        Missing,
        BodyRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    Name(name): Name,
    JsonBody(NewInboundToken {
        prefix,
        poll_seconds,
    }): JsonBody<NewInboundToken>,
) -> Result<Response, Problem> {
    state
        .storage(caller.tenant)
        .check_location(&prefix)
        .map_err(|error| {
            Problem::invalid(error.code, vec![Fault::new("/prefix", error.to_string())])
        })?;
    if poll_seconds.is_some_and(|seconds| !POLL_SECONDS.contains(&seconds)) {
        let detail = format!("from {} to {}", POLL_SECONDS.start(), POLL_SECONDS.end());
        return Err(Problem::invalid(
            ProblemCode::InvalidBody,
            vec![Fault::new("/poll_seconds", detail)],
        ));
    }

    let secret = Secret::draw().map_err(Problem::internal)?;
    let new = NewInbound {
        base_model: &name,
        prefix: &prefix,
        poll_seconds,
        secret_sha256: secret.sha256(),
    };

    let id = inbound_addresses::create(&state.database, caller, &new).await?;
    let id = id.found("base model")?;
    let made = MadeInboundToken {
        id,
        prefix,
        poll_seconds,
        token: secret.reveal().to_owned(),
    };

    Ok((
        StatusCode::CREATED,
        [(header::CACHE_CONTROL, "no-store")],
        Json(made),
    )
        .into_response())
}
