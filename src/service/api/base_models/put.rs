//! `PUT /v1/base_models/{name}`.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::service::{
    api::{
        AppState,
        authentication::Submitter,
        extract::{JsonBody, Name},
        problem::{BodyRefusals, Problem, ProblemCode, Refusals},
    },
    database::base_models::Description,
    domain::registry::{
        base_models::BaseModel, cards::SuccessorPolicy, check_metadata, check_name, check_text,
    },
    registry::base_models,
};

/// What its owner says of a base model; `{}` will do.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBaseModel {
    #[schema(max_length = 2048)]
    #[serde(default)]
    description: Option<String>,
    /// What its versions may be used for, unless they say otherwise.
    #[schema(max_length = 2048)]
    #[serde(default)]
    licence: Option<String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// What becomes of a repository that the card of its newest version names as the next one (`new_version`), where
    /// that version is of a hub.
    #[serde(default)]
    successors: SuccessorPolicy,
}

/// Register a base model, or describe it anew.
///
/// The body replaces what was said of it before. Versions and aliases stay.
#[utoipa::path(
    put,
    path = "/v1/base_models/{name}",
    tag = "base_models",
    operation_id = "put_base_model",
    params(("name" = String, Path, description = "The base model")),
    request_body = NewBaseModel,
    responses(
        (status = 200, body = BaseModel, description = "It was there"),
        (status = 201, body = BaseModel, description = "It is new"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`invalid_body`, `invalid_text`"),
        BodyRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    Name(name): Name,
    JsonBody(new): JsonBody<NewBaseModel>,
) -> Result<Response, Problem> {
    let mut faults = Vec::new();
    check_name("/name", &name, &mut faults);
    check_text("/description", new.description.as_deref(), &mut faults);
    check_text("/licence", new.licence.as_deref(), &mut faults);
    check_metadata(&new.metadata, &mut faults);
    if !faults.is_empty() {
        return Err(Problem::invalid(ProblemCode::InvalidBody, faults));
    }

    let description = Description {
        description: new.description,
        licence: new.licence,
        metadata: serde_json::to_value(new.metadata).map_err(Problem::internal)?,
        successors: new.successors,
    };

    let (model, created) = base_models::put(&state.database, caller, &name, &description).await?;
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };

    Ok((status, Json(model)).into_response())
}
