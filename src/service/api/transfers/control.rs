//! `POST /v1/transfers/{id}/cancel` and `retry`.

use axum::{extract::State, http::StatusCode, response::Response};

use crate::{
    contract::ids::TransferId,
    service::{
        api::{
            AppState,
            authentication::Submitter,
            extract::Id,
            problem::{Found, Missing, Problem, Refusals},
        },
        domain::transfers::Transfer,
        registry::transitions,
    },
};

/// Cancel a transfer.
///
/// A queued one, or one that awaits an evaluation, is cancelled at once; one that runs becomes `cancelling` and stops before its
/// next timestep. Asking again changes nothing.
#[utoipa::path(
    post,
    path = "/v1/transfers/{id}/cancel",
    tag = "transfers",
    operation_id = "cancel_transfer",
    params(("id" = Uuid, Path, description = "The transfer")),
    responses(
        (status = 200, body = Transfer),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`invalid_state`: it has ended"),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn cancel(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    Id(id): Id<TransferId>,
) -> Result<Response, Problem> {
    let transfer = transitions::request_cancel(&state.database, caller, id).await?;
    let transfer = transfer.found("transfer")?;
    Ok(super::show(StatusCode::OK, &transfer))
}

/// Queue a failed or cancelled transfer again, with its attempts counted anew.
#[utoipa::path(
    post,
    path = "/v1/transfers/{id}/retry",
    tag = "transfers",
    operation_id = "retry_transfer",
    params(("id" = Uuid, Path, description = "The transfer")),
    responses(
        (status = 202, body = Transfer, description = "Queued again"),
        (status = 409, body = Problem, content_type = "application/problem+json", 
         description = "`invalid_state`: neither failed nor cancelled; `carried_already`: another transfer carries its fine-tune onto this base, or has done so"),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "`quota_exceeded`, `rate_limited`"),
        Missing,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn retry(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    Id(id): Id<TransferId>,
) -> Result<Response, Problem> {
    let transfer = transitions::retry(&state.database, caller, id, &state.settings.quotas).await?;
    let transfer = transfer.found("transfer")?;
    Ok(super::show(StatusCode::ACCEPTED, &transfer))
}
