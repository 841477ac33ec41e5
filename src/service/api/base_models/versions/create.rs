//! `POST /v1/base_models/{name}/versions`: a new base has landed.
//!
//! The model's files are read through for their digest, which takes long for large ones: no
//! transaction is open meanwhile, and the route has no time limit.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    contract::spec::Fault,
    service::{
        api::{
            AppState,
            authentication::Submitter,
            extract::{JsonBody, Name},
            problem::{BodyRefusals, Missing, Problem, ProblemCode, RefusalCode, Refusals},
        },
        domain::registry::{
            base_models::{BaseVersion, NewVersion},
            check_name, check_text,
        },
        model_files::{self, ModelFiles, ModelFilesError},
        registry::new_version::{self, RegisterError},
    },
};

/// A version that has landed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBaseVersion {
    /// Its name. Where names are made of numbers (`3`, `v1.10`, `2026-11-03`), the numbers say which
    /// of two versions is newer; otherwise the order of arrival does.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"
    )]
    version: String,
    /// The folder of the model.
    #[schema(min_length = 1)]
    uri: String,
    /// The version that it was made from.
    #[serde(default)]
    parent: Option<String>,
    #[schema(max_length = 2048)]
    #[serde(default)]
    licence: Option<String>,
    /// From when on it should not be used.
    #[serde(default, with = "time::serde::rfc3339::option")]
    retires_at: Option<OffsetDateTime>,
}

impl From<RegisterError> for Problem {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::UnknownModel => Self::not_found("base model"),
            RegisterError::UnknownParent(_) => Self::invalid(
                ProblemCode::UnknownVersion,
                vec![Fault::new("/parent", error.to_string())],
            ),
            RegisterError::Conflict { .. } => Self::new(
                ProblemCode::VersionConflict,
                format!("{error}, which is another model's; give a new one a new version"),
            ),
            RegisterError::Database(error) => error.into(),
        }
    }
}

impl From<ModelFilesError> for Problem {
    fn from(error: ModelFilesError) -> Self {
        let at_uri =
            |code: RefusalCode| Self::invalid(code, vec![Fault::new("/uri", error.to_string())]);
        match &error {
            ModelFilesError::NoModel(..) => at_uri(ProblemCode::NoModel.into()),
            ModelFilesError::Storage(fault) if fault.is_input() => at_uri(fault.code().into()),
            ModelFilesError::Storage(fault) => {
                tracing::warn!(%error, "storage did not answer");
                let detail = "storage does not answer; try again";
                Self::unavailable(fault.code(), detail)
            }
        }
    }
}

/// Register a version of a base model.
///
/// Every fine-tune whose policy says so is carried over to it: one retune, one transfer a
/// fine-tune. The same version with the same content again changes nothing.
#[utoipa::path(
    post,
    path = "/v1/base_models/{name}/versions",
    tag = "base_models",
    operation_id = "create_base_model_version",
    params(("name" = String, Path, description = "The base model")),
    request_body = NewBaseVersion,
    responses(
        (status = 200, body = BaseVersion, description = "It was there, with the same digest"),
        (status = 201, body = BaseVersion, description = "It is new", headers(("Location" = String))),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`version_conflict`: it is there with another digest"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`invalid_body`, `invalid_text`, `location_not_allowed`, `no_model`, `unknown_version`"),
        (status = 503, body = Problem, content_type = "application/problem+json",
         description = "`busy`: too many models are being read; `storage_unavailable`, `database_unavailable`"),
        Missing,
        BodyRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    Name(name): Name,
    JsonBody(new): JsonBody<NewBaseVersion>,
) -> Result<Response, Problem> {
    check(&new)?;
    // Before the files are read: that would be in vain.
    super::super::load(&state, caller.tenant, &name).await?;
    let storage = state.storage(caller.tenant);
    let location = storage.check_location(&new.uri).map_err(|error| {
        Problem::invalid(error.code, vec![Fault::new("/uri", error.to_string())])
    })?;
    let permit = state
        .readings
        .acquire(caller.tenant)
        .await
        .ok_or_else(|| Problem::busy("models"))?;
    let ModelFiles {
        digest,
        size,
        pinned,
    } = model_files::look(&storage, &location).await?;
    drop(permit);
    let new = NewVersion {
        version: new.version,
        uri: pinned.unwrap_or(new.uri),
        digest,
        size: i64::try_from(size).map_err(Problem::internal)?,
        parent: new.parent,
        licence: new.licence,
        retires_at: new.retires_at,
    };

    let how = state.settings.automatic();
    let (version, created) =
        new_version::register(&state.database, caller, &name, &new, how).await?;
    if !created {
        return Ok(Json(version).into_response());
    }

    let place = format!("/v1/base_models/{name}/versions/{}", version.version);
    let place = HeaderValue::try_from(place).map_err(Problem::internal)?;

    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, place)],
        Json(version),
    )
        .into_response())
}

fn check(new: &NewBaseVersion) -> Result<(), Problem> {
    let mut faults = Vec::new();
    check_name("/version", &new.version, &mut faults);
    check_text("/licence", new.licence.as_deref(), &mut faults);
    if new.parent.as_ref() == Some(&new.version) {
        faults.push(Fault::new("/parent", "a version is not made from itself"));
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(ProblemCode::InvalidBody, faults))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_version_is_named() {
        let body = serde_json::json!({"version": "a/b", "uri": "x", "parent": "a/b"});
        let problem = check(&serde_json::from_value(body).unwrap()).unwrap_err();
        let errors = serde_json::to_value(problem).unwrap()["errors"].clone();
        assert_eq!(
            (&errors[0]["pointer"], &errors[1]["pointer"]),
            (&"/version".into(), &"/parent".into())
        );
    }
}
