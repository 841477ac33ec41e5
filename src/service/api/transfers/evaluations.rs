//! `POST /v1/transfers/{id}/evaluations`: what the external gate says of a staged result.

use axum::{extract::State, http::StatusCode, response::Response};

use crate::{
    contract::{evaluation::Evaluation, ids::TransferId, spec::Fault},
    service::{
        api::{
            AppState,
            authentication::Submitter,
            extract::{Id, JsonBody},
            problem::{BodyRefusals, Found, Missing, Problem, ProblemCode, Refusals},
        },
        domain::transfers::Transfer,
        registry::evaluations::{self, EvaluationError},
    },
};

impl From<EvaluationError> for Problem {
    fn from(error: EvaluationError) -> Self {
        let said = error.to_string();
        match error {
            EvaluationError::InvalidState { .. } => Self::new(ProblemCode::InvalidState, said),
            EvaluationError::Evaluated => Self::new(ProblemCode::AlreadyEvaluated, said),
            EvaluationError::OtherGate { .. } => {
                Self::invalid(ProblemCode::InvalidBody, vec![Fault::new("/name", said)])
            }
            EvaluationError::Database(error) => error.into(),
        }
    }
}

/// Judge a result that awaits an evaluation.
///
/// The transfer is queued once more: a worker puts the result in its place where it `passed`, and writes a rejection
/// otherwise. The same evaluation again is taken for the same; another one is refused.
#[utoipa::path(
    post,
    path = "/v1/transfers/{id}/evaluations",
    tag = "transfers",
    operation_id = "evaluate_transfer",
    params(("id" = Uuid, Path, description = "The transfer")),
    request_body = Evaluation,
    responses(
        (status = 202, body = Transfer, description = "Recorded, now or before"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`invalid_state`: it awaits no evaluation; `already_evaluated`: another one has been recorded"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`invalid_body`, `invalid_text`"),
        Missing,
        BodyRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    Id(id): Id<TransferId>,
    JsonBody(evaluation): JsonBody<Evaluation>,
) -> Result<Response, Problem> {
    evaluation
        .check()
        .map_err(|faults| Problem::invalid(ProblemCode::InvalidBody, faults))?;
    let transfer = evaluations::record(&state.database, caller, id, evaluation).await?;
    Ok(super::show(
        StatusCode::ACCEPTED,
        &transfer.found("transfer")?,
    ))
}
