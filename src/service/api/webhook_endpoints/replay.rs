//! `POST /v1/webhook_endpoints/{name}/deliveries/{id}/replay`.

use axum::{Json, extract::State, http::StatusCode};

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::TwoNames,
        problem::{Missing, Problem, Refusals},
    },
    database::deliveries::{self, ReplayError},
    domain::events::Delivery,
};

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Disabled => {
                Self::new(StatusCode::CONFLICT, "endpoint_disabled", error.to_string())
            }
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
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    TwoNames(name, id): TwoNames,
) -> Result<(StatusCode, Json<Delivery>), Problem> {
    let id = id.parse().map_err(|_| Problem::not_found("delivery"))?;
    let delivery = deliveries::replay(&state.database, caller, &name, id).await?;
    let delivery = delivery.ok_or_else(|| Problem::not_found("delivery"))?;
    Ok((StatusCode::ACCEPTED, Json(delivery)))
}
