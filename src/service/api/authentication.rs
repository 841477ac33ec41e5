//! Who calls, asked for by a handler's arguments: [`Reader`], [`Submitter`] or [`Administrator`].
//!
//! A handler that names none of them is open to everyone; a test lists those. Where the service
//! runs open, everyone is administrator of the default tenant, until the first key is made.

use std::time::Instant;

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};

use super::{
    AppState,
    problem::{Problem, ProblemCode},
    refusals,
};
use crate::service::{
    domain::access::{Principal, Role},
    state::cookie,
};

/// Someone who may look.
pub struct Reader(pub Principal);

/// Someone who may submit and stop jobs, and look.
pub struct Submitter(pub Principal);

/// Someone who may do everything within the tenant.
pub struct Administrator(pub Principal);

impl FromRequestParts<AppState> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        principal(parts, state, Role::Read).await.map(Self)
    }
}

impl FromRequestParts<AppState> for Submitter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        principal(parts, state, Role::Submit).await.map(Self)
    }
}

impl FromRequestParts<AppState> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        principal(parts, state, Role::Admin).await.map(Self)
    }
}

async fn principal(parts: &Parts, state: &AppState, least: Role) -> Result<Principal, Problem> {
    let secret = bearer(parts).or_else(|| {
        // From the dashboard's pages; never good for a change.
        parts
            .method
            .is_safe()
            .then(|| cookie::read(&parts.headers))
            .flatten()
    });

    let principal = match (secret, state.is_open().await?) {
        (_, true) => Principal::OPEN,
        (Some(secret), false) => state
            .authenticate(secret)
            .await?
            .ok_or_else(|| unauthenticated("this key is unknown, withdrawn or expired"))?,
        (None, false) => {
            return Err(unauthenticated("send a key: Authorization: Bearer rt_…"));
        }
    };

    refusals::name_caller(parts, principal);
    // Before anything that is recorded: refusals do not flood the audit log.
    if !state.rate_limit.allows(principal.key_id, Instant::now()) {
        return Err(Problem::rate_limited(state.settings.http.rate_limit));
    }
    if principal.role < least {
        return Err(Problem::new(
            ProblemCode::Forbidden,
            format!(
                "this needs the role {least:?}; the key's role is {:?}",
                principal.role
            )
            .to_lowercase(),
        ));
    }

    Ok(principal)
}

/// Of who was let in before: by a key that no longer holds, or while the service ran open, which it no longer does.
pub const KEY_ENDED: &str = "what let this request in holds no more: send a key that is valid";

/// 401 with a reason.
pub fn unauthenticated(detail: &str) -> Problem {
    Problem::new(ProblemCode::Unauthenticated, detail)
}

/// The scheme's name is read without regard to case (RFC 9110, 11.1).
fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn only_bearer_credentials_are_read() {
        let read = |value: &str| {
            let request = Request::builder()
                .header(header::AUTHORIZATION, value)
                .body(())
                .unwrap();
            bearer(&request.into_parts().0).map(ToOwned::to_owned)
        };
        assert_eq!(read("Bearer rt_x").as_deref(), Some("rt_x"));
        assert_eq!(read("bearer  rt_x").as_deref(), Some("rt_x"));
        assert_eq!(read("Basic rt_x"), None);
        assert_eq!(read("rt_x"), None);
    }
}
