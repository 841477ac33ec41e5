//! A key is given at a form and kept in an HttpOnly, SameSite=Strict cookie.

use std::time::Instant;

use axum::{
    Form,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::forms::{Posted, Session, is_same_origin, secure};
use crate::service::{
    dashboard::{error::PageError, frame::Frame, render},
    state::{AppState, Client, cookie},
};

/// How long a browser keeps the key.
const COOKIE_MAX_AGE: &str = "; Max-Age=604800";

#[derive(askama::Template)]
#[template(
    path = "visit/login.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    refused: bool,
    next: String,
}

#[derive(Deserialize)]
pub struct Entry {
    key: String,
    #[serde(default)]
    next: String,
}

/// Where one wanted to go.
#[derive(Default, Deserialize)]
pub struct Goal {
    #[serde(default)]
    next: String,
}

pub async fn form(
    State(state): State<AppState>,
    goal: Result<Query<Goal>, QueryRejection>,
) -> Result<Response, PageError> {
    let next = goal.map(|Query(goal)| goal.next).unwrap_or_default();
    if state.is_open().await? {
        return Ok(Redirect::to("/").into_response());
    }
    Ok(render(&Page {
        frame: Frame::bare("Sign in"),
        refused: false,
        next: place(&next),
    })?
    .into_response())
}

pub async fn login(
    State(state): State<AppState>,
    Client(address): Client,
    headers: HeaderMap,
    Form(entry): Form<Entry>,
) -> Result<Response, PageError> {
    // Nobody is to be signed in with a key that another site chose.
    if !is_same_origin(&headers) {
        return Err(PageError::Forged);
    }

    let key = entry.key.trim();
    let open = state.is_open().await?;
    // Each is a query. Whoever tries many locks out nobody else.
    if !open && !state.logins.allows(address, Instant::now()) {
        return Err(PageError::TooMany);
    }
    // Only a key that holds is put into a header, so nothing else can be written there.
    if open || state.authenticate(key).await?.is_none() {
        let page = Page {
            frame: Frame::bare("Sign in"),
            refused: !open,
            next: place(&entry.next),
        };
        return Ok(render(&page)?.into_response());
    }

    let mut response = with_key(
        &format!("{key}{COOKIE_MAX_AGE}{}", secure(&headers)),
        &place(&entry.next),
    );
    let session = Session::draw()
        .ok()
        .and_then(|session| session.cookie(&headers));
    if let Some(cookie) = session {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }

    Ok(response)
}

pub async fn logout(headers: HeaderMap, _posted: Posted) -> Response {
    with_key(&format!("; Max-Age=0{}", secure(&headers)), "/login")
}

/// A path of this service, or the first page: never another site.
fn place(next: &str) -> String {
    let is_path = next.starts_with('/')
        && !next.starts_with("//")
        && next
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_path {
        next.to_owned()
    } else {
        "/".to_owned()
    }
}

fn with_key(rest: &str, next: &str) -> Response {
    let cookie = format!("{}={rest}; Path=/; HttpOnly; SameSite=Strict", cookie::NAME);
    let mut response = Redirect::to(next).into_response();
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_on_within_the_service_and_nowhere_else() {
        assert_eq!(place("/transfers/1?a=b"), "/transfers/1?a=b");
        for elsewhere in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/\t/evil.example",
        ] {
            assert_eq!(place(elsewhere), "/", "{elsewhere}");
        }
    }
}
