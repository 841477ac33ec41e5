//! `GET /healthz` (the process answers) and `GET /readyz` (it can do its work).

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AppState,
    problem::{Problem, ProblemCode},
};
use crate::service::database::Readiness;

/// `{"status": "ok"}`
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    #[schema(value_type = String)]
    status: &'static str,
    #[schema(value_type = String)]
    version: &'static str,
}

const OK: Health = Health {
    status: "ok",
    version: env!("CARGO_PKG_VERSION"),
};

/// Whether the process answers; asks nobody else.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "service",
    operation_id = "healthz",
    responses((status = 200, body = Health))
)]
pub async fn live() -> Json<Health> {
    Json(OK)
}

/// Whether the service can work: its database answers, has this version's schema, and gives its rows to
/// the service and to a tenant.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    operation_id = "readyz",
    responses(
        (status = 200, body = Health),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "`not_ready`"),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn ready(State(state): State<AppState>) -> Result<Json<Health>, Problem> {
    if state.shutdown.is_cancelled() {
        return Err(not_ready("the service is stopping"));
    }

    match state.database.is_ready().await {
        Ok(Readiness::Ready) => Ok(Json(OK)),
        Ok(Readiness::OtherSchema) => Err(not_ready(
            "the database has another schema; run `retune migrate`",
        )),
        Ok(Readiness::Rights(error)) => Err(not_ready(&error.to_string())),
        Err(error) => {
            tracing::debug!(%error, "the database does not answer");
            Err(not_ready("the database does not answer"))
        }
    }
}

fn not_ready(detail: &str) -> Problem {
    Problem::new(ProblemCode::NotReady, detail)
}
