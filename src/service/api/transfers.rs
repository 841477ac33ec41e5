//! Transfers: submit, look, follow, stop, fetch what came of them.

pub mod control;
pub mod create;
pub mod delete;
pub mod evaluations;
pub mod events;
pub mod files;
pub mod get;
pub mod list;
pub mod locations;
pub mod plan;
pub mod position;
pub mod report;

pub mod callback;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    AppState, etag,
    problem::{Found, Problem, ProblemCode},
};
use crate::{
    contract::ids::{TenantId, TransferId},
    service::{
        database::transfers, domain::transfers::Transfer, registry::transitions::TransitionError,
    },
};

/// The tenant's transfer.
///
/// # Errors
/// 404 where the tenant has none of this id.
async fn load(state: &AppState, tenant: TenantId, id: TransferId) -> Result<Transfer, Problem> {
    let transfer = transfers::get(&state.database, tenant, id).await?;
    transfer.found("transfer")
}

/// A transfer with its weak `ETag`.
fn show(status: StatusCode, transfer: &Transfer) -> Response {
    let mut response = (status, Json(transfer)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag(transfer));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    response
}

fn etag(transfer: &Transfer) -> HeaderValue {
    etag::of_revision(transfer.revision)
}

impl From<TransitionError> for Problem {
    fn from(error: TransitionError) -> Self {
        match error {
            TransitionError::InvalidState { status } => Self::new(
                ProblemCode::InvalidState,
                format!(
                    "the transfer is {}, which does not allow this",
                    status.name()
                ),
            ),
            TransitionError::CarriedAlready => {
                Self::new(ProblemCode::CarriedAlready, error.to_string())
            }
            TransitionError::QuotaExceeded(exceeded) => exceeded.into(),
            TransitionError::Database(error) => error.into(),
        }
    }
}
