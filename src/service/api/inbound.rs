//! `POST /v1/inbound/{sender}/{token}`: an object store or a registry says that a base has landed.
//!
//! The token is the authentication: it belongs to one base model and one folder. What is announced is
//! looked at; what is whole and new becomes a version, as if it had been posted. So a notification may
//! come twice, late or too early.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    AppState,
    extract::JsonBody,
    problem::{Problem, Refusals},
};
use crate::{
    service::{
        access::Secret,
        database::{
            base_models::versions::{self, NewVersion, RegisterError},
            inbound_tokens::{self, Inbound},
        },
        model_files::{self, ModelFilesError},
        retuning::{
            inbound::{Announced, Hint, Sender},
            is_name,
        },
    },
    storage::Location,
};

/// What came of a notification.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Received {
    /// Versions that are new.
    registered: Vec<String>,
    /// Versions that were there.
    known: Vec<String>,
    ignored: Vec<Ignored>,
}

/// What was announced and is no version.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ignored {
    uri: String,
    reason: String,
}

/// Notify of a new base.
///
/// Sent by S3 (or `EventBridge`), by `CloudEvents`, by the Hugging Face hub or by `MLflow`. Answers 503 where
/// storage does not, so that it is sent again.
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
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`malformed_json`"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "`body_too_large`"),
        (status = 415, body = Problem, content_type = "application/problem+json", description = "`unsupported_media_type`"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`invalid_text`"),
        Refusals,
    ),
)]
pub async fn handle(
    State(state): State<AppState>,
    path: Result<Path<(Sender, String)>, axum::extract::rejection::PathRejection>,
    JsonBody(body): JsonBody<Value>,
) -> Result<(StatusCode, Json<Received>), Problem> {
    let unknown = || Problem::not_found("address");
    let Path((sender, token)) = path.map_err(|_| unknown())?;
    let secret = Secret::parse(&token).ok_or_else(unknown)?;
    let inbound = inbound_tokens::find(&state.database, secret.sha256()).await?;
    let inbound = inbound.ok_or_else(unknown)?;
    // The roots may have been narrowed since.
    let prefix = state.storage.check_location(&inbound.prefix).map_err(|_| unknown())?;
    let mut received = Received::default();
    let places = match sender.announced(&body) {
        Announced::Places(hints) => places(&state, &prefix, hints, &mut received),
        Announced::Everything => {
            let folders = state.storage.list(&prefix).await.map_err(ModelFilesError::from)?.folders;
            folders.into_iter().map(|folder| (folder.name().to_owned(), folder)).collect()
        }
    };
    for (version, folder) in places {
        register(&state, &inbound, (version, folder), &mut received).await?;
    }
    Ok((StatusCode::ACCEPTED, Json(received)))
}

/// The folders meant, each once, by the names of their versions.
fn places(
    state: &AppState,
    prefix: &Location,
    hints: Vec<Hint>,
    received: &mut Received,
) -> BTreeMap<String, Location> {
    let mut places = BTreeMap::new();
    for hint in hints {
        let found = state.storage.check_location(&hint.uri).ok();
        match found.and_then(|location| place(prefix, location, hint.version)) {
            Some((version, folder)) => {
                places.insert(version, folder);
            }
            None => received.ignored.push(Ignored {
                uri: hint.uri,
                reason: "not below the folder of this address".to_owned(),
            }),
        }
    }
    places
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

async fn register(
    state: &AppState,
    inbound: &Inbound,
    (version, folder): (String, Location),
    received: &mut Received,
) -> Result<(), Problem> {
    let uri = format!("{}/", folder.to_string().trim_end_matches('/'));
    let mut ignore = |reason: String| received.ignored.push(Ignored { uri: uri.clone(), reason });
    if !is_name(&version) {
        ignore("its name cannot be a version's".to_owned());
        return Ok(());
    }
    // Not read again for each of its files.
    let known =
        versions::get(&state.database, inbound.tenant, &inbound.base_model, &version).await?;
    if known.is_some_and(|known| known.uri.trim_end_matches('/') == uri.trim_end_matches('/')) {
        received.known.push(version);
        return Ok(());
    }
    let files = match model_files::look(&state.storage, &folder).await {
        Ok(files) => files,
        Err(ModelFilesError::NoModel(_, fault)) => {
            ignore(format!("not a whole model yet: {fault}"));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let size = i64::try_from(files.size).map_err(Problem::internal)?;
    let (parent, licence, retires_at) = (None, None, None);
    let name = version.clone();
    let digest = files.digest;
    let new = NewVersion { version, uri: uri.clone(), digest, size, parent, licence, retires_at };
    let max_attempts = state.settings.worker.max_attempts;
    let of = (inbound.tenant, inbound.base_model.as_str());
    match versions::register(&state.database, of.0, of.1, &new, max_attempts).await {
        Ok((_, true)) => received.registered.push(name),
        Ok((_, false)) => received.known.push(name),
        Err(error @ RegisterError::Conflict { .. }) => ignore(error.to_string()),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
