//! `PUT /v1/fine_tunes/{name}/aliases/{alias}`.

use axum::{Json, extract::State, http::header, response::IntoResponse};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::{JsonBody, TwoNames},
        fine_tunes,
        problem::{BodyRefusals, Found, Missing, Problem, ProblemCode, Refusals},
    },
    domain::registry::{check_name, fine_tunes::FineTune},
    registry::fine_tunes::{Protection, protect},
};

/// What is to hold of the alias.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AliasProtection {
    /// Whether only an administrator's key moves it.
    protected: bool,
}

/// Protect an alias of a fine-tune, or end that.
///
/// A protected alias is moved by an administrator's key alone: by others promotion and rollback are refused, and a
/// result that its policy would move it to is proposed. The alias need not stand anywhere yet. Promotion and
/// rollback move it.
#[utoipa::path(
    put,
    path = "/v1/fine_tunes/{name}/aliases/{alias}",
    tag = "fine_tunes",
    operation_id = "put_fine_tune_alias",
    params(
        ("name" = String, Path, description = "The fine-tune"),
        ("alias" = String, Path, description = "The alias, mostly `production`"),
    ),
    request_body = AliasProtection,
    responses(
        (status = 200, body = FineTune, headers(("ETag" = String))),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`invalid_body`, `invalid_text`"),
        Missing,
        BodyRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    TwoNames(name, alias): TwoNames,
    JsonBody(wanted): JsonBody<AliasProtection>,
) -> Result<impl IntoResponse, Problem> {
    let mut faults = Vec::new();
    check_name("/alias", &alias, &mut faults);
    if !faults.is_empty() {
        return Err(Problem::invalid(ProblemCode::InvalidBody, faults));
    }

    let wanted = Protection {
        fine_tune: &name,
        alias: &alias,
        protected: wanted.protected,
    };
    let changed = protect(&state.database, caller, wanted).await?;
    let fine_tune = changed.found("fine-tune")?;
    let tag = [(header::ETAG, fine_tunes::tag(&fine_tune))];

    Ok((tag, Json(fine_tune)))
}
