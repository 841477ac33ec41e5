//! `DELETE /v1/webhook_endpoints/{name}`, and `POST` of `rotate` and of a replay.

use axum::{Json, extract::State, http::StatusCode, response::Response};

use super::put::EndpointWithSecret;
use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::{Name, TwoNames},
        problem::{Found, Missing, Problem, ProblemCode, Refusals, removed},
    },
    domain::events::Delivery,
    registry::{
        endpoints,
        redelivery::{self, ReplayError},
    },
};

/// Remove an endpoint, with the history of its deliveries.
#[utoipa::path(
    delete,
    path = "/v1/webhook_endpoints/{name}",
    tag = "webhook_endpoints",
    operation_id = "delete_webhook_endpoint",
    params(("name" = String, Path, description = "The endpoint")),
    responses(
        (status = 204, description = "Removed"),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn delete(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    Name(name): Name,
) -> Result<StatusCode, Problem> {
    let known = endpoints::delete(&state.database, caller, &name).await?;
    removed(known, "endpoint")
}

/// Draw a new signing secret.
///
/// For 24 hours every webhook is signed with both, so that the receiver can change over; then the
/// new one signs alone. The secret is in this answer and nowhere else.
#[utoipa::path(
    post,
    path = "/v1/webhook_endpoints/{name}/rotate",
    tag = "webhook_endpoints",
    operation_id = "rotate_webhook_endpoint",
    params(("name" = String, Path, description = "The endpoint")),
    responses(
        (status = 200, body = EndpointWithSecret),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn rotate(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    Name(name): Name,
) -> Result<Response, Problem> {
    let rotated = endpoints::rotate(&state.database, caller, &name).await?;
    let (endpoint, secret) = rotated.found("endpoint")?;
    let secret = Some(secret.reveal());
    Ok(EndpointWithSecret { endpoint, secret }.answer(StatusCode::OK))
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Disabled => Self::new(ProblemCode::EndpointDisabled, error.to_string()),
            ReplayError::Database(error) => error.into(),
        }
    }
}

/// Deliver an event to the endpoint once more, whatever became of it before.
///
/// The body and its `webhook-id` are the same, so that a receiver can tell.
#[utoipa::path(
    post,
    path = "/v1/webhook_endpoints/{name}/deliveries/{id}/replay",
    tag = "webhook_endpoints",
    operation_id = "replay_webhook_delivery",
    params(
        ("name" = String, Path, description = "The endpoint"),
        ("id" = Uuid, Path, description = "The delivery"),
    ),
    responses(
        (status = 202, body = Delivery, description = "Due at once"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`endpoint_disabled`"),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn replay(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    TwoNames(name, id): TwoNames,
) -> Result<(StatusCode, Json<Delivery>), Problem> {
    let id = id.parse().map_err(|_| Problem::not_found("delivery"))?;
    let delivery = redelivery::replay(&state.database, caller, &name, id).await?;
    let delivery = delivery.found("delivery")?;
    Ok((StatusCode::ACCEPTED, Json(delivery)))
}

/// Post a test event to the endpoint.
///
/// It goes to this endpoint alone, whatever kinds of events it is told of. What came of it is in its deliveries.
#[utoipa::path(
    post,
    path = "/v1/webhook_endpoints/{name}/test",
    tag = "webhook_endpoints",
    operation_id = "test_webhook_endpoint",
    params(("name" = String, Path, description = "The endpoint")),
    responses(
        (status = 202, body = Delivery, description = "Due at once"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`endpoint_disabled`"),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn test(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    Name(name): Name,
) -> Result<(StatusCode, Json<Delivery>), Problem> {
    let delivery = redelivery::test(&state.database, caller, &name).await?;
    let delivery = delivery.found("endpoint")?;
    Ok((StatusCode::ACCEPTED, Json(delivery)))
}
