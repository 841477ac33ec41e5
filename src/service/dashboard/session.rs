//! Who looks: nobody in particular where the service runs open, else the holder of the cookie.

use std::time::Instant;

use axum::{
    Form,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{Frame, PageError, render};
use crate::service::{
    domain::access::Principal,
    state::{AppState, Client, cookie},
};

/// How long a browser keeps the key.
const COOKIE_MAX_AGE: &str = "; Max-Age=604800";

/// The caller, or the way to the form.
pub async fn principal(state: &AppState, headers: &HeaderMap) -> Result<Principal, PageError> {
    if state.is_open().await? {
        return Ok(Principal::OPEN);
    }

    let secret = cookie::read(headers).ok_or(PageError::NoKey)?;
    let principal = state.authenticate(secret).await?.ok_or(PageError::NoKey)?;
    if !state.rate_limit.allows(principal.key_id, Instant::now()) {
        return Err(PageError::TooMany);
    }

    Ok(principal)
}

#[derive(askama::Template)]
#[template(path = "login.html", config = "src/service/dashboard/askama.toml")]
struct Page {
    frame: Frame,
    refused: bool,
}

#[derive(Deserialize)]
pub struct Entry {
    key: String,
}

pub async fn form(State(state): State<AppState>) -> Result<Response, PageError> {
    if state.is_open().await? {
        return Ok(Redirect::to("/").into_response());
    }
    Ok(render(&Page { frame: Frame::still("Enter · retune"), refused: false })?.into_response())
}

pub async fn login(
    State(state): State<AppState>,
    Client(address): Client,
    headers: HeaderMap,
    Form(entry): Form<Entry>,
) -> Result<Response, PageError> {
    let key = entry.key.trim();
    let open = state.is_open().await?;
    // Each is a query. Whoever tries many locks out nobody else.
    if !open && !state.logins.allows(address, Instant::now()) {
        return Err(PageError::TooMany);
    }
    // Only a key that holds is put into a header, so nothing else can be written there.
    if open || state.authenticate(key).await?.is_none() {
        let page = Page { frame: Frame::still("Enter · retune"), refused: !open };
        return Ok(render(&page)?.into_response());
    }

    Ok(with_cookie(&format!("{key}{COOKIE_MAX_AGE}{}", secure(&headers)), "/"))
}

pub async fn logout(headers: HeaderMap) -> Response {
    with_cookie(&format!("; Max-Age=0{}", secure(&headers)), "/login")
}

/// Behind a proxy that speaks TLS the cookie stays there.
fn secure(headers: &HeaderMap) -> &'static str {
    let tls = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    if tls { "; Secure" } else { "" }
}

fn with_cookie(rest: &str, next: &str) -> Response {
    let cookie = format!("{}={rest}; Path=/; HttpOnly; SameSite=Strict", cookie::NAME);
    let mut response = Redirect::to(next).into_response();
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
