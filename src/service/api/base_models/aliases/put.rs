//! `PUT /v1/base_models/{name}/aliases/{alias}`.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    contract::spec::Fault,
    service::{
        api::{
            AppState,
            authentication::Submitter,
            extract::{JsonBody, TwoNames},
            problem::{BodyRefusals, Missing, Problem, ProblemCode, Refusals},
        },
        domain::registry::{base_models::BaseAlias, check_name},
        registry::alias_moved::{self, Move, MoveError},
    },
};

/// Where the alias is to stand.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AliasTarget {
    /// A version of the base model.
    #[schema(min_length = 1)]
    version: String,
}

impl From<MoveError> for Problem {
    fn from(error: MoveError) -> Self {
        match error {
            MoveError::UnknownModel => Self::not_found("base model"),
            MoveError::UnknownVersion(_) => Self::invalid(
                ProblemCode::UnknownVersion,
                vec![Fault::new("/version", error.to_string())],
            ),
            MoveError::Database(error) => error.into(),
        }
    }
}

/// Move an alias of a base model, or make it.
///
/// Every fine-tune that follows the alias is carried over to that version; what waits to be carried to
/// where no alias that it follows stands any more is cancelled. Where a result is there already, a
/// policy of mode `promote` moves `production` to it. To where the alias stands already changes nothing.
#[utoipa::path(
    put,
    path = "/v1/base_models/{name}/aliases/{alias}",
    tag = "base_models",
    operation_id = "put_base_model_alias",
    params(
        ("name" = String, Path, description = "The base model"),
        ("alias" = String, Path, description = "The alias"),
    ),
    request_body = AliasTarget,
    responses(
        (status = 200, body = BaseAlias),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`invalid_body`, `invalid_text`, `unknown_version`"),
        Missing,
        BodyRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    TwoNames(name, alias): TwoNames,
    JsonBody(target): JsonBody<AliasTarget>,
) -> Result<Json<BaseAlias>, Problem> {
    let mut faults = Vec::new();
    check_name("/alias", &alias, &mut faults);
    if !faults.is_empty() {
        return Err(Problem::invalid(ProblemCode::InvalidBody, faults));
    }

    let wanted = Move {
        base_model: &name,
        alias: &alias,
        version: &target.version,
    };
    let how = state.settings.automatic();
    let moved = alias_moved::move_alias(&state.database, caller, wanted, how).await?;

    Ok(Json(moved))
}
