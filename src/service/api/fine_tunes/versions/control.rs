//! `POST /v1/fine_tunes/{name}/versions/{version}/promote` and `rollback`.

use axum::{Json, extract::State};

use super::AliasChoice;
use crate::service::{
    api::{
        AppState,
        authentication::Submitter,
        extract::{OptionalJsonBody, TwoNames},
        problem::{BodyRefusals, Missing, Problem, Refusals},
    },
    domain::registry::fine_tunes::FineTuneAlias,
    registry::promote::{self, Wanted},
};

/// Move an alias onto a version.
///
/// A proposed version is published by it. To where the alias stands already changes nothing.
#[utoipa::path(
    post,
    path = "/v1/fine_tunes/{name}/versions/{version}/promote",
    tag = "fine_tunes",
    operation_id = "promote_fine_tune_version",
    params(
        ("name" = String, Path, description = "The fine-tune"),
        ("version" = i32, Path, description = "The version's number"),
    ),
    request_body = Option<AliasChoice>,
    responses(
        (status = 200, body = FineTuneAlias, description = "Where the alias stands now"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`version_rejected`: it failed its gate"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`invalid_body`, `invalid_text`"),
        Missing,
        BodyRefusals,
        Refusals,
        (status = 403, body = Problem, content_type = "application/problem+json", description = "`forbidden`, `alias_protected`: only an administrator's key moves it"),
    ),
    security(("api_key" = []))
)]
pub async fn promote(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    TwoNames(name, version): TwoNames,
    OptionalJsonBody(choice): OptionalJsonBody<AliasChoice>,
) -> Result<Json<FineTuneAlias>, Problem> {
    let (number, alias) = choice.of(&version)?;
    let wanted = Wanted {
        fine_tune: &name,
        version: number,
        alias: &alias,
    };
    Ok(Json(
        promote::by_hand(&state.database, caller, wanted).await?,
    ))
}

/// Move an alias back from a version, to where it stood before it was promoted to that.
#[utoipa::path(
    post,
    path = "/v1/fine_tunes/{name}/versions/{version}/rollback",
    tag = "fine_tunes",
    operation_id = "rollback_fine_tune_version",
    params(
        ("name" = String, Path, description = "The fine-tune"),
        ("version" = i32, Path, description = "The version's number"),
    ),
    request_body = Option<AliasChoice>,
    responses(
        (status = 200, body = FineTuneAlias, description = "Where the alias stands now"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`version_rejected`, `not_current`: the alias stands elsewhere, `nothing_before`"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`invalid_body`, `invalid_text`"),
        Missing,
        BodyRefusals,
        Refusals,
        (status = 403, body = Problem, content_type = "application/problem+json", description = "`forbidden`, `alias_protected`: only an administrator's key moves it"),
    ),
    security(("api_key" = []))
)]
pub async fn rollback(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    TwoNames(name, version): TwoNames,
    OptionalJsonBody(choice): OptionalJsonBody<AliasChoice>,
) -> Result<Json<FineTuneAlias>, Problem> {
    let (number, alias) = choice.of(&version)?;
    let wanted = Wanted {
        fine_tune: &name,
        version: number,
        alias: &alias,
    };
    Ok(Json(
        promote::roll_back(&state.database, caller, wanted).await?,
    ))
}
