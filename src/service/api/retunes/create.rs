//! `POST /v1/retunes`: a retune by hand.

use std::collections::HashSet;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    contract::{codes::FailureCode, spec::Fault},
    service::{
        api::{
            AppState,
            authentication::Submitter,
            extract::JsonBody,
            idempotency,
            problem::{BodyRefusals, Problem, ProblemCode, Refusals},
        },
        domain::registry::retunes::{Limits, Retune},
        registry::by_hand::{self, BeginError, Onto, Wish},
    },
    storage::Storage,
};

/// The most transfers that one request may make.
const MAX_TRANSFERS: usize = 1000;

/// What is to be carried where: fine-tunes onto locations, or onto a registered version.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRetune {
    /// Needed with `targets`; otherwise all that were tuned from the base model when absent.
    #[serde(default)]
    #[schema(min_items = 1)]
    fine_tunes: Option<Vec<String>>,
    /// Folders of models; each fine-tune is carried onto each.
    #[serde(default)]
    #[schema(min_items = 1)]
    targets: Option<Vec<String>>,
    /// With `version`, instead of `targets`.
    #[serde(default)]
    base_model: Option<String>,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    limits: Limits,
}

impl From<BeginError> for Problem {
    fn from(error: BeginError) -> Self {
        let at = |code, pointer: String| {
            Self::invalid(code, vec![Fault::new(pointer, error.to_string())])
        };
        match &error {
            BeginError::UnknownBase => at(ProblemCode::UnknownVersion, "/version".into()),
            BeginError::UnknownFineTune(place, _) => {
                at(ProblemCode::UnknownFineTune, format!("/fine_tunes/{place}"))
            }
            BeginError::NothingToDo => Self::new(ProblemCode::NothingToDo, error.to_string()),
            BeginError::KeyReused(reused) => (*reused).into(),
            BeginError::QuotaExceeded(exceeded) => (*exceeded).into(),
            BeginError::Database(_) => match error {
                BeginError::Database(error) => error.into(),
                other => Self::internal(other),
            },
        }
    }
}

/// Begin a retune by hand.
///
/// Onto a registered version, a fine-tune is carried until it has succeeded once, as by itself; onto
/// locations, as often as asked. With an `Idempotency-Key`, the same key and body again answer with the same
/// retune.
#[utoipa::path(
    post,
    path = "/v1/retunes",
    tag = "retunes",
    operation_id = "create_retune",
    params(("Idempotency-Key" = Option<String>, Header, description = "Up to 255 visible ASCII characters; makes a repeated request harmless")),
    request_body = NewRetune,
    responses(
        (status = 202, body = Retune, headers(("Location" = String))),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`nothing_to_do`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`invalid_body`, `invalid_text`, `location_not_allowed`, `unknown_version`, `unknown_fine_tune`, `idempotency_key_reused`, `invalid_idempotency_key`"),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "`quota_exceeded`, `rate_limited`"),
        BodyRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Submitter(caller): Submitter,
    headers: HeaderMap,
    JsonBody(new): JsonBody<NewRetune>,
) -> Result<Response, Problem> {
    let asked = serde_json::to_value(&new).map_err(Problem::internal)?;
    let mut wish = wish(new, state.settings.worker.max_attempts)?;
    wish.idempotency = idempotency::of(&headers, &asked)?;
    if let Onto::Locations(targets) = &wish.onto {
        check_locations(targets, &state.storage(caller.tenant))?;
    }
    let retune = by_hand::begin(&state.database, caller, &wish, &state.settings.quotas).await?;
    let place = HeaderValue::try_from(format!("/v1/retunes/{}", retune.id));
    let place = [(header::LOCATION, place.map_err(Problem::internal)?)];

    Ok((StatusCode::ACCEPTED, place, Json(retune)).into_response())
}

fn wish(new: NewRetune, max_attempts: i32) -> Result<Wish, Problem> {
    check_size(&new)?;

    let mut faults = Vec::new();
    check_list("/fine_tunes", new.fine_tunes.as_deref(), &mut faults);
    check_list("/targets", new.targets.as_deref(), &mut faults);
    check_limits(new.limits, &mut faults);

    let (fine_tunes, limits) = (new.fine_tunes, new.limits);
    let has_fine_tunes = fine_tunes.is_some();
    let onto = match (new.targets, new.base_model, new.version) {
        (Some(targets), None, None) => {
            if !has_fine_tunes {
                faults.push(Fault::new(
                    "/fine_tunes",
                    "name what is to be carried onto targets",
                ));
            }
            Some(Onto::Locations(targets))
        }
        (None, Some(base_model), Some(version)) => Some(Onto::Version {
            base_model,
            version,
        }),
        _ => {
            faults.push(Fault::new(
                "",
                "give either targets, or base_model and version",
            ));
            None
        }
    };

    match onto {
        Some(onto) if faults.is_empty() => Ok(Wish {
            fine_tunes,
            onto,
            limits,
            idempotency: None,
            max_attempts,
        }),
        _ => Err(Problem::invalid(ProblemCode::InvalidBody, faults)),
    }
}

/// Before anything looks at every entry. Of two lists, one may be empty.
fn check_size(new: &NewRetune) -> Result<(), Problem> {
    let fine_tunes = new.fine_tunes.as_ref().map_or(1, Vec::len);
    let targets = new.targets.as_ref().map_or(1, Vec::len);
    let transfers = fine_tunes.saturating_mul(targets);
    if fine_tunes.max(targets).max(transfers) <= MAX_TRANSFERS {
        return Ok(());
    }

    let fault = Fault::new("", format!("at most {MAX_TRANSFERS} transfers at once"));
    Err(Problem::invalid(ProblemCode::InvalidBody, vec![fault]))
}

fn check_limits(limits: Limits, faults: &mut Vec<Fault>) {
    let given = [
        (
            "/limits/max_concurrent",
            limits.max_concurrent.map(i64::from),
        ),
        ("/limits/max_compute_seconds", limits.max_compute_seconds),
    ];
    for (pointer, limit) in given {
        if limit.is_some_and(|limit| limit < 1) {
            faults.push(Fault::new(pointer, "must be at least 1"));
        }
    }
}

/// A list that is given has something in it, and nothing twice.
fn check_list(pointer: &str, list: Option<&[String]>, faults: &mut Vec<Fault>) {
    let Some(list) = list else { return };
    if list.is_empty() {
        faults.push(Fault::new(pointer, "must not be empty"));
    }
    let mut seen = HashSet::new();
    for (i, item) in list.iter().enumerate() {
        if !seen.insert(item) {
            faults.push(Fault::new(format!("{pointer}/{i}"), "is named twice"));
        }
    }
}

fn check_locations(targets: &[String], storage: &Storage) -> Result<(), Problem> {
    let refused = targets
        .iter()
        .enumerate()
        .filter_map(|(i, uri)| storage.check_location(uri).err().map(|error| (i, error)));
    let faults: Vec<Fault> = refused
        .map(|(i, error)| Fault::new(format!("/targets/{i}"), error.to_string()))
        .collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(FailureCode::LocationNotAllowed, faults))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(body: Value) -> Result<Wish, Value> {
        let problem = |problem| serde_json::to_value::<Problem>(problem).unwrap()["errors"].clone();
        wish(serde_json::from_value(body).unwrap(), 3).map_err(problem)
    }

    #[test]
    fn there_are_two_forms_and_no_third() {
        let locations = json!({"fine_tunes": ["a"], "targets": ["u:1", "u:2"]});
        assert!(
            matches!(read(locations).unwrap().onto, Onto::Locations(targets) if targets.len() == 2)
        );
        let version = json!({"base_model": "m", "version": "2", "limits": {"max_concurrent": 1}});
        assert_eq!(read(version).unwrap().limits.max_concurrent, Some(1));
        for (body, pointer) in [
            (json!({}), ""),
            (json!({"base_model": "m"}), ""),
            (
                json!({"fine_tunes": ["a"], "targets": ["u:1"], "version": "2"}),
                "",
            ),
            (json!({"targets": ["u:1"]}), "/fine_tunes"),
            (json!({"fine_tunes": [], "targets": ["u:1"]}), "/fine_tunes"),
            (
                json!({"fine_tunes": ["a", "a"], "targets": ["u:1"]}),
                "/fine_tunes/1",
            ),
            (
                json!({"base_model": "m", "version": "2", "limits": {"max_concurrent": 0}}),
                "/limits/max_concurrent",
            ),
        ] {
            assert_eq!(
                read(body.clone()).unwrap_err()[0]["pointer"],
                pointer,
                "{body}"
            );
        }
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_looked_through() {
        let names = |count: usize| vec!["the same"; count];
        for (fine_tunes, targets) in [(1001, 1), (1, 1001), (1001, 0), (40, 40)] {
            let body = json!({"fine_tunes": names(fine_tunes), "targets": names(targets)});
            let faults = read(body).unwrap_err();
            assert_eq!(
                faults.as_array().unwrap().len(),
                1,
                "{fine_tunes} {targets}"
            );
            assert!(
                faults[0]["detail"]
                    .as_str()
                    .unwrap()
                    .contains("at most 1000")
            );
        }
    }
}
