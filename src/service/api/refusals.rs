//! Records refused changes in the audit log. What was done is recorded in the transaction that did it; a refusal has
//! none, so it is written after the answer is known.
//!
//! Only a caller who showed a key is recorded, and not one who is merely too fast: neither guessing
//! nor flooding fills the log.

use std::sync::{Arc, OnceLock};

use axum::{
    extract::{MatchedPath, Request, State},
    http::request::Parts,
    middleware::Next,
    response::Response,
};

use crate::service::{
    api::{
        AppState,
        method::known_method,
        problem::{ProblemCode, RefusalCode},
    },
    database::audit_events,
    domain::access::{Caller, Principal},
};

/// Longest path that is recorded, in bytes.
const SUBJECT_LIMIT: usize = 500;

/// Where authentication leaves word of who calls.
#[derive(Clone, Debug, Default)]
struct Slot(Arc<OnceLock<Principal>>);

/// Says who makes this request.
pub fn name_caller(parts: &Parts, principal: Principal) {
    if let Some(slot) = parts.extensions.get::<Slot>() {
        // Asked for twice by one handler, it is the same.
        let _ = slot.0.set(principal);
    }
}

/// Around every route.
pub async fn record(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }

    let slot = Slot::default();
    request.extensions_mut().insert(slot.clone());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let action = format!(
        "{} {}",
        known_method(request.method()),
        route.unwrap_or_default()
    );
    let path = request.uri().path();
    let path = path.strip_prefix("/v1/").unwrap_or(path);
    let subject = path[..path.floor_char_boundary(SUBJECT_LIMIT)].to_owned();
    let response = next.run(request).await;
    let refusal = response
        .extensions()
        .get::<RefusalCode>()
        .copied()
        .filter(|code| !is_passing(*code));
    if let (Some(&principal), Some(code)) = (slot.0.get(), refusal) {
        let caller = Caller::from(principal);
        let written =
            audit_events::record_refusal(&state.database, caller, &action, &subject, code.name())
                .await;
        if let Err(error) = written {
            tracing::warn!(%error, "a refusal was not recorded");
        }
    }

    response
}

/// Whether there may be any number of refusals with this code.
fn is_passing(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::Own(ProblemCode::RateLimited | ProblemCode::Busy)
    )
}
