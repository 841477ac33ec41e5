//! `GET /v1/transfers/{id}/report`.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use crate::{
    contract::{
        spec::Fault,
        {ids::TransferId, report::Report},
    },
    service::{
        api::{
            AppState,
            authentication::Reader,
            extract::Id,
            problem::{Problem, ProblemCode, Refusals},
        },
        results::{self, ResultError},
    },
    storage::StorageError,
};

impl From<ResultError> for Problem {
    fn from(error: ResultError) -> Self {
        match error {
            ResultError::None(_) => Self::new(ProblemCode::NoResult, error.to_string()),
            ResultError::NoSuchFile => Self::not_found("file in this result"),
            ResultError::Storage(StorageError::NotFound { .. }) => Self::new(
                ProblemCode::ResultGone,
                "the result was removed from storage",
            ),
            // The roots have been narrowed since it was written.
            ResultError::Storage(StorageError::Location(error)) => Self::invalid(
                error.code,
                vec![Fault::new("/result/uri", error.to_string())],
            ),
            ResultError::Damaged(_) | ResultError::Storage(_) => {
                tracing::error!(%error, "a result cannot be read");
                let detail = "the storage of the result does not answer as it should; try again";
                Self::new(ProblemCode::StorageUnavailable, detail)
            }
        }
    }
}

/// The report of a finished transfer: candidates, steps, cost, recommendation.
#[utoipa::path(
    get,
    path = "/v1/transfers/{id}/report",
    tag = "transfers",
    operation_id = "get_transfer_report",
    params(("id" = Uuid, Path, description = "The transfer")),
    responses(
        (status = 200, body = Report, description = "`report.json` as it was written"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`not_found`, `no_result`, `result_gone`"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`location_not_allowed`: it lies outside the roots, which were wider once"),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "`storage_unavailable`"),
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Id(id): Id<TransferId>,
) -> Result<Response, Problem> {
    let transfer = super::load(&state, caller.tenant, id).await?;
    let report = results::report(&state.storage(caller.tenant), &transfer).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], report).into_response())
}
