//! `PUT /v1/webhook_endpoints/{name}`.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    contract::{events::EventKind, spec::Fault},
    service::{
        api::{
            AppState,
            authentication::Administrator,
            extract::{JsonBody, Name},
            problem::{BodyRefusals, Problem, ProblemCode, Refusals},
        },
        database::webhook_endpoints::Wanted,
        domain::events::{Endpoint, is_name},
        registry::endpoints::{self, PutError},
        webhooks::Guard,
    },
};

/// Most patterns of one endpoint.
const PATTERN_LIMIT: usize = 50;

/// The endpoint wanted; what is absent takes its default, on a change too.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedEndpoint {
    /// Where to post: https, a public address.
    #[schema(example = "https://example.com/hooks/retune")]
    url: String,
    /// Kinds of events: exact names, `transfer.*`, or `*` for all, the default.
    #[serde(default = "all")]
    #[schema(min_items = 1, max_items = 50)]
    events: Vec<String>,
    #[serde(default = "yes")]
    #[schema(default = true)]
    enabled: bool,
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

fn yes() -> bool {
    true
}

/// The endpoint, with its secret where one was drawn.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointWithSecret {
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// The key to verify signatures by (`whsec_…`); shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl EndpointWithSecret {
    /// The answer, which nobody is to keep.
    pub fn answer(self, status: StatusCode) -> Response {
        (status, [(header::CACHE_CONTROL, "no-store")], Json(self)).into_response()
    }
}

/// Add an endpoint or change it.
///
/// From then on it is told of every event of its kinds. The answer that adds it has the signing
/// secret, this once; a change keeps the secret and forgets earlier failures. Where it disables, what
/// waits to be delivered is given up.
#[utoipa::path(
    put,
    path = "/v1/webhook_endpoints/{name}",
    tag = "webhook_endpoints",
    operation_id = "put_webhook_endpoint",
    params(("name" = String, Path, description = "Letters, digits, `-`, `_` and `.`, at most 100")),
    request_body = WantedEndpoint,
    responses(
        (status = 200, body = Endpoint, description = "Changed"),
        (status = 201, body = EndpointWithSecret, description = "Added"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`too_many_endpoints`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`invalid_body`, `invalid_text`, `address_not_allowed`"),
        BodyRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    Name(name): Name,
    JsonBody(wanted): JsonBody<WantedEndpoint>,
) -> Result<Response, Problem> {
    check(&name, &wanted, &Guard::from(&state.settings.webhooks))?;
    let WantedEndpoint {
        url,
        events,
        enabled,
    } = wanted;
    let wanted = Wanted {
        url,
        events,
        enabled,
    };
    let limit = state.settings.webhooks.endpoints_per_tenant;
    let (endpoint, secret) = endpoints::put(&state.database, caller, &name, &wanted, limit).await?;
    let status = if secret.is_some() {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };

    let secret = secret.map(|secret| secret.reveal());

    Ok(EndpointWithSecret { endpoint, secret }.answer(status))
}

impl From<PutError> for Problem {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Full(_) => Self::new(ProblemCode::TooManyEndpoints, error.to_string()),
            PutError::Secret(error) => error.into(),
        }
    }
}

fn check(name: &str, wanted: &WantedEndpoint, guard: &Guard) -> Result<(), Problem> {
    if let Err(error) = guard.check(&wanted.url) {
        let fault = Fault::new("/url", error.to_string());
        return Err(Problem::invalid(
            ProblemCode::AddressNotAllowed,
            vec![fault],
        ));
    }

    let mut faults = Vec::new();
    if !is_name(name) {
        let detail = "1 to 100 letters, digits, - _ and ., not beginning with a dot";
        faults.push(Fault::new("/name", detail));
    }
    if !(1..=PATTERN_LIMIT).contains(&wanted.events.len()) {
        faults.push(Fault::new(
            "/events",
            format!("1 to {PATTERN_LIMIT} kinds of events"),
        ));
    }
    for (i, pattern) in wanted.events.iter().take(PATTERN_LIMIT).enumerate() {
        if !EventKind::any_matches(pattern) {
            let detail = format!("no event has this type; there are {}", EventKind::list());
            faults.push(Fault::new(format!("/events/{i}"), detail));
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(ProblemCode::InvalidBody, faults))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(wanted: serde_json::Value) -> Vec<String> {
        named("ci", wanted)
    }

    fn named(name: &str, wanted: serde_json::Value) -> Vec<String> {
        let wanted = serde_json::from_value(wanted).unwrap();
        let Err(problem) = check(name, &wanted, &Guard::default()) else {
            return Vec::new();
        };
        let json = serde_json::to_value(problem).unwrap();
        let faults = json["errors"].as_array().unwrap().iter();
        faults
            .map(|fault| fault["pointer"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn faults_are_named_by_their_pointers() {
        let url = "https://example.com/";
        assert!(faults(json!({"url": url})).is_empty());
        assert!(faults(json!({"url": url, "events": ["transfer.*", "gate.failed"]})).is_empty());
        assert_eq!(named(".ci", json!({"url": url})), ["/name"]);
        assert_eq!(faults(json!({"url": "https://127.0.0.1/"})), ["/url"]);
        assert_eq!(faults(json!({"url": url, "events": []})), ["/events"]);
        assert_eq!(
            faults(json!({"url": url, "events": vec!["*"; 51]})),
            ["/events"]
        );
        let misspelt = json!({"url": url, "events": ["*", "transfer.done", "x"]});
        assert_eq!(faults(misspelt), ["/events/1", "/events/2"]);
    }
}
