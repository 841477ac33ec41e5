//! `POST /v1/transfers/{id}/retry`.

use axum::{extract::State, http::StatusCode, response::Response};

use crate::{
    contract::ids::TransferId,
    service::{
        api::{
            AppState,
            authentication::Submitter,
            extract::Id,
            problem::{Missing, Problem, Refusals},
        },
        domain::transfers::Transfer,
        registry::transitions,
    },
};

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
pub async fn handle(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    Id(id): Id<TransferId>,
) -> Result<Response, Problem> {
    let transfer = transitions::retry(&state.database, caller, id, &state.settings.quotas).await?;
    let transfer = transfer.ok_or_else(|| Problem::not_found("transfer"))?;
    Ok(super::show(StatusCode::ACCEPTED, &transfer))
}
