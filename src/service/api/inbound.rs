//! `POST /v1/inbound/{sender}/{token}`: an object store or a registry says that a base has landed.
//!
//! The token is the authentication: it belongs to one base model and one folder. What is announced is
//! only written down here; [`crate::service::arrivals`] looks at it, however long that takes. So a
//! notification may come twice, late or too early.

use std::collections::BTreeSet;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
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
        access::Secret,
        database::{
            arrivals::{self, Announced as How},
            inbound_tokens::{self, listings},
        },
        retuning::{
            arrivals::{Announcement, Arrival},
            inbound::{Announced, Hint, Sender},
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

/// What was announced and cannot be a version.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ignored {
    uri: String,
    reason: String,
}

/// Notify of a new base.
///
/// Sent by S3 (or `EventBridge`), by `CloudEvents`, by the Hugging Face hub or by `MLflow`. Answered before
/// anything is looked at in storage.
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
        (status = 202, body = Received),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`invalid_text`"),
        Missing,
        BodyRefusals,
        Refusals,
    ),
)]
pub async fn handle(
    State(state): State<AppState>,
    path: Result<Path<(Sender, String)>, axum::extract::rejection::PathRejection>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Value>,
) -> Result<(StatusCode, Json<Received>), Problem> {
    // A CloudEvent in binary mode is its data; what surrounds it stands in headers.
    let body = if headers.contains_key("ce-specversion") { json!({"data": body}) } else { body };
    let unknown = || Problem::not_found("address");
    let Path((sender, token)) = path.map_err(|_| unknown())?;
    let secret = Secret::parse(&token).ok_or_else(unknown)?;
    let inbound = inbound_tokens::find(&state.database, secret.sha256()).await?;
    let inbound = inbound.ok_or_else(unknown)?;
    let storage = state.storage(inbound.tenant);
    // The roots may have been narrowed since.
    let prefix = storage.check_location(&inbound.prefix).map_err(|_| unknown())?;
    let mut received = Received::default();
    match sender.announced(&body) {
        Announced::Places(hints) => {
            let places = places(&storage, &prefix, hints, &mut received.ignored);
            let written = arrivals::announce(&state.database, &inbound, &places, How::Again);
            received.arrivals = written.await?;
        }
        Announced::Everything => {
            listings::ask(&state.database, &inbound).await?;
            received.listing = true;
        }
    }
    Ok((StatusCode::ACCEPTED, Json(received)))
}

/// The folders meant, each once.
fn places(
    storage: &Storage,
    prefix: &Location,
    hints: Vec<Hint>,
    ignored: &mut Vec<Ignored>,
) -> Vec<Announcement> {
    let mut places = BTreeSet::new();
    for Hint { uri, version } in hints {
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
        ignored.push(Ignored { uri, reason: reason.to_owned() });
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
    let below = whole.strip_prefix(root.trim_end_matches('/'))?.trim_start_matches('/');
    let version = below.split('/').next()?.to_owned();
    let folder = prefix.child(&version).ok()?;
    Some((version, folder))
}
