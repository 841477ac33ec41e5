//! `PUT /v1/fine_tunes/{name}`.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    contract::{codes::FailureCode, ids::TenantId, spec::Fault},
    service::{
        api::{
            AppState,
            authentication::Submitter,
            etag,
            extract::{JsonBody, Name},
            problem::{BodyRefusals, Problem, ProblemCode, Refusals},
            transfers::{callback, locations},
        },
        database::{base_models::versions, fine_tunes::Content},
        domain::registry::{
            check_name,
            fine_tunes::{FineTune, On, Policy, Template},
        },
        registry::fine_tunes::{PutError, put},
    },
};

/// A fine-tune and what is to become of it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFineTune {
    #[schema(min_length = 1)]
    base_model: String,
    /// The version that it was tuned from.
    #[schema(min_length = 1)]
    base_version: String,
    /// A `trajectory.json` folder, a Trainer output folder, a single tuned model or an adapter.
    #[schema(min_length = 1)]
    trajectory: String,
    /// The `data` of every job.
    #[serde(default)]
    #[schema(value_type = Option<crate::contract::spec::Data>)]
    data: Option<Value>,
    /// A job specification without source and target; `output` is required.
    #[schema(value_type = Object)]
    spec: Value,
    policy: Policy,
}

impl From<PutError> for Problem {
    fn from(error: PutError) -> Self {
        match error {
            PutError::UnknownBase => unknown_base(),
            PutError::Changed => Self::new(
                ProblemCode::PreconditionFailed,
                "the fine-tune is not what If-Match names; look at it again",
            ),
            PutError::Database(error) => error.into(),
        }
    }
}

fn unknown_base() -> Problem {
    let fault = Fault::new(
        "/base_version",
        "there is no such base model, or no such version of it",
    );
    Problem::invalid(ProblemCode::UnknownVersion, vec![fault])
}

/// Register a fine-tune, or change it.
///
/// With `If-Match`, only if it still has that `ETag`. Transfers that are queued stay as they are.
#[utoipa::path(
    put,
    path = "/v1/fine_tunes/{name}",
    tag = "fine_tunes",
    operation_id = "put_fine_tune",
    params(
        ("name" = String, Path, description = "The fine-tune"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that it must have; `*`: it must be there"),
    ),
    request_body = NewFineTune,
    responses(
        (status = 200, body = FineTune, description = "It was there", headers(("ETag" = String))),
        (status = 201, body = FineTune, description = "It is new", headers(("ETag" = String))),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "`precondition_failed`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`invalid_body`, `invalid_text`, `invalid_spec`, `address_not_allowed`, `location_not_allowed`, `unknown_version`"),
        BodyRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    Name(name): Name,
    headers: HeaderMap,
    JsonBody(new): JsonBody<NewFineTune>,
) -> Result<Response, Problem> {
    check(&name, &new.policy)?;
    let (model, version) = (&new.base_model, &new.base_version);
    let base = versions::get(&state.database, caller.tenant, model, version).await?;
    check_job(
        &state,
        caller.tenant,
        &base.ok_or_else(unknown_base)?.uri,
        &new,
    )?;
    let content = Content {
        base_model: new.base_model,
        base_version: new.base_version,
        trajectory: new.trajectory,
        data: new.data,
        spec: new.spec,
        policy: new.policy,
    };

    let wanted = headers.get(header::IF_MATCH);
    let holds = |there: Option<&FineTune>| {
        wanted.is_none() || there.is_some_and(|there| etag::matches(wanted, &super::tag(there)))
    };
    let (fine_tune, created) = put(&state.database, caller, &name, &content, holds).await?;
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };

    let tag = [(header::ETAG, super::tag(&fine_tune))];

    Ok((status, tag, Json(fine_tune)).into_response())
}

fn check(name: &str, policy: &Policy) -> Result<(), Problem> {
    let mut faults = Vec::new();
    check_name("/name", name, &mut faults);
    match (policy.on, &policy.alias) {
        (On::AliasMoved, Some(alias)) => check_name("/policy/alias", alias, &mut faults),
        (_, Some(_)) => {
            faults.push(Fault::new(
                "/policy/alias",
                "is for a policy on alias_moved alone",
            ));
        }
        (_, None) => {}
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(ProblemCode::InvalidBody, faults))
    }
}

/// Checks the whole job that would carry the fine-tune from its base to its base: any other target
/// is a registered version's location, or checked when it is named.
fn check_job(
    state: &AppState,
    tenant: TenantId,
    base: &str,
    new: &NewFineTune,
) -> Result<(), Problem> {
    let template = Template {
        source_base: base,
        trajectory: &new.trajectory,
        data: new.data.as_ref(),
        spec: &new.spec,
    };

    let job = template.job(base)?;
    let mut faults = locations::faults(&job, &state.storage(tenant));
    for fault in &mut faults {
        fault.pointer = template.pointer(&fault.pointer);
    }
    // Source and target of this job are one.
    faults.dedup_by(|a, b| a.pointer == b.pointer);
    if !faults.is_empty() {
        return Err(Problem::invalid(FailureCode::LocationNotAllowed, faults));
    }

    match callback::fault(&job, &state.settings.webhooks) {
        Some(fault) => {
            let fault = Fault {
                pointer: template.pointer(&fault.pointer),
                ..fault
            };
            Err(Problem::invalid(
                ProblemCode::AddressNotAllowed,
                vec![fault],
            ))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(policy: Value) -> Result<(), Problem> {
        check("a", &serde_json::from_value(policy).unwrap())
    }

    #[test]
    fn an_alias_is_named_only_where_aliases_are_followed() {
        assert!(policy(json!({"on": "new_version", "mode": "propose"})).is_ok());
        assert!(policy(json!({"on": "alias_moved", "alias": "stable", "mode": "promote"})).is_ok());
        // Every alias is followed.
        assert!(policy(json!({"on": "alias_moved", "mode": "publish"})).is_ok());
        for faulty in [
            json!({"on": "alias_moved", "alias": "a/b", "mode": "publish"}),
            json!({"on": "manual", "alias": "stable", "mode": "publish"}),
        ] {
            assert_eq!(policy(faulty).unwrap_err().code(), "invalid_body");
        }
        assert!(
            check(
                "a b",
                &Policy {
                    on: On::Manual,
                    alias: None,
                    mode: crate::service::domain::registry::fine_tunes::Mode::Propose
                }
            )
            .is_err()
        );
    }
}
