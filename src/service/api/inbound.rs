//! `POST /v1/inbound/{sender}/{token}`: an object store or a registry says that a base has landed.
//!
//! The token is the authentication: it belongs to one base model and one folder. What is announced is
//! only written down here; [`crate::service::arrivals`] looks at it, however long that takes. So a
//! notification may come twice, late or too early.

use std::collections::BTreeSet;

use axum::{
    Json,
    extract::{FromRequest, Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    AppState,
    extract::JsonBody,
    problem::{BodyRefusals, Missing, Problem, Refusals},
};
use crate::{
    service::{
        database::{
            arrivals,
            base_models::cards,
            inbound_tokens::{self, listings},
        },
        domain::{
            access::Secret,
            registry::{
                arrivals::{Announced as How, Announcement, Arrival},
                inbound::{Announced, Hint, Inbound, Sender, is_known_to_mlflow_alone},
            },
        },
    },
    storage::{Location, Storage},
};

/// What came of a notification so far.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Received {
    /// What it announces, and how far each is: `GET /v1/base_models/{name}/arrivals` tells more later.
    arrivals: Vec<Arrival>,
    ignored: Vec<Ignored>,
    /// The folder is going to be listed, and everything in it announced.
    listing: bool,
}

/// The answer that Event Grid waits for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Validated {
    /// The code that it sent.
    validation_response: String,
}

/// What was announced and cannot be a version.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ignored {
    uri: String,
    reason: String,
}

/// A notification's JSON, whatever the sender calls it: SNS says `text/plain`.
pub struct Notification(Value);

impl<S: Send + Sync> FromRequest<S> for Notification {
    type Rejection = Problem;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, Problem> {
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        JsonBody::from_request(request, state)
            .await
            .map(|JsonBody(body)| Self(body))
    }
}

type Address = Result<Path<(Sender, String)>, PathRejection>;

/// Notify of a new base.
///
/// Sent by S3 (or `EventBridge`, or an SNS topic), by `CloudEvents`, by Event Grid, by the Hugging Face hub
/// or by `MLflow`. Answered before anything is looked at in storage. An SNS topic's question whether this
/// address is meant becomes an arrival, whose `uri` an administrator opens to confirm it; Event Grid's
/// question is answered.
#[utoipa::path(
    post,
    path = "/v1/inbound/{sender}/{token}",
    tag = "base_models",
    operation_id = "receive_notification",
    params(
        ("sender" = inline(Sender), Path, description = "Who notifies"),
        ("token" = String, Path, description = "Of `POST /v1/base_models/{name}/inbound_tokens`"),
    ),
    request_body(content = Value, description = "As the sender has it"),
    responses(
        (status = 200, body = Validated, description = "Event Grid's question whether this address is meant"),
        (status = 202, body = Received, description = "Written down"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`invalid_text`"),
        Missing,
        BodyRefusals,
        Refusals,
    ),
)]
pub async fn handle(
    State(state): State<AppState>,
    address: Address,
    headers: HeaderMap,
    Notification(body): Notification,
) -> Result<Response, Problem> {
    // A CloudEvent in binary mode is its data; what surrounds it stands in headers.
    let body = if headers.contains_key("ce-specversion") {
        json!({"data": body})
    } else {
        body
    };

    let (sender, inbound) = open(&state, address).await?;
    let storage = state.storage(inbound.tenant);
    // The roots may have been narrowed since.
    let prefix = storage
        .check_location(&inbound.prefix)
        .map_err(|_| unknown())?;

    let mut received = Received::default();
    let places = match sender.announced(&body) {
        Announced::Places(hints) => places(&storage, &prefix, hints, &mut received.ignored),
        Announced::Confirmation(address) => {
            tracing::warn!(
                base_model = inbound.base_model,
                "an SNS topic asks whether it may notify; open the address in the arrivals to confirm it"
            );
            confirmation(address).into_iter().collect()
        }
        Announced::Validation(code) => {
            return Ok(Json(Validated {
                validation_response: code,
            })
            .into_response());
        }
        Announced::Everything => {
            // The hub tells of changes to a card, too.
            cards::ask(&state.database, &inbound).await?;
            listings::ask(&state.database, &inbound).await?;
            received.listing = true;
            Vec::new()
        }
    };

    received.arrivals = arrivals::announce(&state.database, &inbound, &places, How::Again).await?;

    Ok((StatusCode::ACCEPTED, Json(received)).into_response())
}

const ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// Ask whether one may notify.
///
/// The handshake of `CloudEvents` webhooks, which Event Grid makes first: whoever knows the token may, as
/// often as it likes.
#[utoipa::path(
    options,
    path = "/v1/inbound/{sender}/{token}",
    tag = "base_models",
    operation_id = "allow_notifications",
    params(
        ("sender" = inline(Sender), Path, description = "Who notifies"),
        ("token" = String, Path, description = "Of `POST /v1/base_models/{name}/inbound_tokens`"),
        ("WebHook-Request-Origin" = Option<String>, Header, description = "Who asks"),
    ),
    responses(
        (status = 200, description = "It may", headers(
            ("WebHook-Allowed-Origin" = String, description = "Who asked"),
            ("WebHook-Allowed-Rate" = String, description = "Notifications a minute: `*`"),
        )),
        Missing,
        Refusals,
    ),
)]
pub async fn allow(
    State(state): State<AppState>,
    address: Address,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    open(&state, address).await?;
    let mut response = [(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"))].into_response();
    if let Some(origin) = headers.get(ORIGIN) {
        response
            .headers_mut()
            .insert(ALLOWED_ORIGIN, origin.clone());
        response
            .headers_mut()
            .insert(ALLOWED_RATE, HeaderValue::from_static("*"));
    }
    Ok(response)
}

/// What an address stands for; 404 where it stands for nothing.
async fn open(state: &AppState, address: Address) -> Result<(Sender, Inbound), Problem> {
    let Path((sender, token)) = address.map_err(|_| unknown())?;
    let secret = Secret::parse(&token).ok_or_else(unknown)?;
    let inbound = inbound_tokens::find(&state.database, secret.sha256()).await?;
    Ok((sender, inbound.ok_or_else(unknown)?))
}

fn unknown() -> Problem {
    Problem::not_found("address")
}

/// The question of an SNS topic, for the administrator: nothing that a stranger names is fetched.
fn confirmation(address: String) -> Option<Announcement> {
    let note = "an SNS topic asks whether this address is meant: open its uri within three days to confirm it, \
                or leave it";
    Announcement::noted(
        address,
        "SubscriptionConfirmation".to_owned(),
        note.to_owned(),
    )
}

/// A model version that only `MLflow` can find, for whoever looks why there is no version.
fn unresolved(hint: &Hint) -> Option<Announcement> {
    let Hint { uri, version } = hint;
    let note = format!(
        "{uri} can be found by MLflow alone: give the model version a tag retune.uri with its location below \
         the folder of this address, or let the folder be listed (poll_seconds)"
    );
    Announcement::noted(uri.clone(), version.clone().unwrap_or_default(), note)
}

/// The folders meant, each once.
fn places(
    storage: &Storage,
    prefix: &Location,
    hints: Vec<Hint>,
    ignored: &mut Vec<Ignored>,
) -> Vec<Announcement> {
    let mut places = BTreeSet::new();
    for hint in hints {
        if is_known_to_mlflow_alone(&hint.uri) {
            places.extend(unresolved(&hint));
            continue;
        }
        let Hint { uri, version } = hint;
        let found = storage.check_location(&uri).ok();
        let place = found.and_then(|location| place(prefix, location, version));
        let reason = match place.map(|(name, folder)| Announcement::of(&folder.to_string(), name)) {
            Some(Some(announcement)) => {
                places.insert(announcement);
                continue;
            }
            Some(None) => "its location or its name is too long",
            None => "not below the folder of this address",
        };
        ignored.push(Ignored {
            uri,
            reason: reason.to_owned(),
        });
    }

    places.into_iter().collect()
}

/// A hint that names its version means that very folder; of any other the folder right below the
/// prefix is meant.
fn place(
    prefix: &Location,
    location: Location,
    version: Option<String>,
) -> Option<(String, Location)> {
    if !location.is_under(prefix) || location == *prefix {
        return None;
    }
    if let Some(version) = version {
        return Some((version, location));
    }

    let (root, whole) = (prefix.to_string(), location.to_string());
    let below = whole
        .strip_prefix(root.trim_end_matches('/'))?
        .trim_start_matches('/');
    let version = below.split('/').next()?.to_owned();
    let folder = prefix.child(&version).ok()?;

    Some((version, folder))
}
