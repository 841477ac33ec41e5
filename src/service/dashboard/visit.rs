//! Who looks at a page, and whether a form is ours.

pub mod forms;
pub mod session;

use std::time::Instant;

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};

use super::{
    Pages,
    error::PageError,
    frame::{Frame, Section},
};
use crate::service::{
    domain::access::{Principal, Role},
    state::{AppState, cookie},
};

/// Someone who may look at pages.
pub struct Visitor {
    pub principal: Principal,
    /// Proof that a form is of this session's pages.
    pub token: String,
}

impl Visitor {
    /// What surrounds a page of theirs.
    pub fn frame(&self, section: Section, title: &str) -> Frame {
        Frame {
            title: format!("{title} · retune"),
            section,
            refresh: 0,
            session: self.principal.key_id.is_some(),
            administers: self.may(Role::Admin),
            token: self.token.clone(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// Whether buttons that need this role are shown. Whether they work, the API says.
    pub fn may(&self, role: Role) -> bool {
        self.principal.role >= role
    }
}

impl FromRequestParts<Pages> for Visitor {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Self, PageError> {
        let state = AppState::from_ref(pages);
        let secret = cookie::read(&parts.headers);
        let principal = principal(&state, secret)
            .await
            .map_err(|error| match error {
                PageError::NoKey => PageError::enter(parts),
                other => other,
            })?;
        let token = forms::Session::of(parts).map(|session| pages.forms.token(secret, &session));

        Ok(Self {
            principal,
            token: token.unwrap_or_default(),
        })
    }
}

/// An administrator: what the API shows to no other role, no page shows.
pub struct Administrator(pub Visitor);

impl FromRequestParts<Pages> for Administrator {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Self, PageError> {
        let visitor = Visitor::from_request_parts(parts, pages).await?;
        if visitor.may(Role::Admin) {
            Ok(Self(visitor))
        } else {
            Err(PageError::NeedsAdmin)
        }
    }
}

/// The caller: nobody in particular where the service runs open, else the holder of the cookie.
async fn principal(state: &AppState, secret: Option<&str>) -> Result<Principal, PageError> {
    if state.is_open().await? {
        return Ok(Principal::OPEN);
    }

    let secret = secret.ok_or(PageError::NoKey)?;
    let principal = state.authenticate(secret).await?.ok_or(PageError::NoKey)?;
    if !state.rate_limit.allows(principal.key_id, Instant::now()) {
        return Err(PageError::TooMany);
    }

    Ok(principal)
}
