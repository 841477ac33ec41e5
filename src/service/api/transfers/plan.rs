//! `POST /v1/transfers:plan`: the check and the estimate of a job, without queueing it.

use axum::{Json, extract::State};
use serde_json::Value;

use super::{callback, locations};
use crate::{
    contract::{plan::Plan, spec::Spec},
    pipeline,
    service::api::{
        AppState,
        authentication::Submitter,
        extract::JsonBody,
        problem::{BodyRefusals, Problem, Refusals},
    },
};

/// Check a job and estimate its cost.
///
/// Reads the artifacts' headers alone; nothing is queued or written.
#[utoipa::path(
    post,
    path = "/v1/transfers:plan",
    tag = "transfers",
    operation_id = "plan_transfer",
    request_body = Spec,
    responses(
        (status = 200, body = Plan, description = "The estimate"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "As on submission, and what the headers show: `missing_tensor`, `wrong_shape` …"),
        (status = 503, body = Problem, content_type = "application/problem+json",
         description = "`busy`: too many plans at once; `storage_unavailable`, `database_unavailable`, `timeout`"),
        BodyRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    JsonBody(body): JsonBody<Value>,
) -> Result<Json<Plan>, Problem> {
    let spec = Spec::from_json(&body)?;
    let storage = state.storage(caller.tenant);
    locations::check(&spec, &storage)?;
    callback::check(&spec, &state.settings.webhooks)?;
    // Taken along: the work goes on where the request is given up.
    let permit = state
        .plans
        .acquire(caller.tenant)
        .await
        .ok_or_else(|| Problem::busy("plans"))?;
    // The pipeline blocks; a panic in it is one request's, not the service's.
    let cache = state.settings.cache_dir();
    let plan = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        pipeline::plan(&spec, &storage, cache.as_deref())
    });
    let plan = plan.await;

    Ok(Json(plan.map_err(Problem::internal)??))
}
