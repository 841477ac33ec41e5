//! Forms that no other site can post.
//!
//! A browser sends the cookie with the key along with every request that it makes to us, so a request must
//! show that one of our pages made it. Three things say so, and none of them needs a script:
//!
//! - The cookie is `SameSite=Strict`. That alone is not enough: another port of the same host, or another name
//!   below the same domain, is the same *site*, and old browsers know no `SameSite`.
//! - `Sec-Fetch-Site`, which scripts cannot set, must be `same-origin`; where a browser does not send it,
//!   `Origin` must name the host that was asked.
//! - Each form has a token: an HMAC over the session's number under the key in the cookie. Whoever can plant
//!   cookies (another port, a sibling domain) still lacks the key. Where the service runs open there is none,
//!   and the secret is the process's own.
//!
//! The session's number is drawn at the first page and again at every login; it gives no access to anything. Its
//! cookie is `Lax`, so that a link from elsewhere does not draw another and spoil the forms of open tabs.

use std::collections::BTreeMap;

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, header, request::Parts},
    middleware::Next,
    response::Response,
};
use hmac::{Hmac, Mac};
use rand::{TryRngCore, rngs::OsRng};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::service::{
    dashboard::{Pages, error::PageError},
    state::cookie,
};

/// The field of a form that holds the token.
pub const FIELD: &str = "form_token";

const COOKIE: &str = "retune_session";

/// Bytes of a session's number.
const LENGTH: usize = 16;

/// What tokens are made with where no key is asked for. The default makes none: no form is taken.
#[derive(Default)]
pub struct FormSecret(Option<[u8; 32]>);

impl FormSecret {
    /// # Errors
    /// When the operating system has no randomness.
    pub fn draw() -> Result<Self, std::io::Error> {
        let mut bytes = [0; 32];
        OsRng
            .try_fill_bytes(&mut bytes)
            .map_err(std::io::Error::other)?;
        Ok(Self(Some(bytes)))
    }

    /// The token of a session's forms, for whoever shows this key, or none.
    pub fn token(&self, key: Option<&str>, session: &Session) -> String {
        let secret = key
            .map(str::as_bytes)
            .or(self.0.as_ref().map(<[u8; 32]>::as_slice));
        // A key of any length will do for HMAC.
        let mac = secret.and_then(|secret| Hmac::<Sha256>::new_from_slice(secret).ok());
        let Some(mut mac) = mac else {
            return String::new();
        };
        mac.update(b"retune form ");
        mac.update(session.0.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

/// A session's number, in hexadecimal.
#[derive(Clone)]
pub struct Session(String);

impl Session {
    /// # Errors
    /// When the operating system has no randomness.
    pub fn draw() -> Result<Self, std::io::Error> {
        let mut bytes = [0_u8; LENGTH];
        OsRng
            .try_fill_bytes(&mut bytes)
            .map_err(std::io::Error::other)?;
        Ok(Self(hex::encode(bytes)))
    }

    /// The request's own, or the one that was drawn for its answer.
    pub fn of(parts: &Parts) -> Option<Self> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .or_else(|| Self::read(&parts.headers))
    }

    fn read(headers: &HeaderMap) -> Option<Self> {
        let text = cookie::named(headers, COOKIE)?;
        let is_ours = text.len() == 2 * LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_ours.then(|| Self(text.to_owned()))
    }

    /// The header that gives it to the browser.
    pub fn cookie(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let Self(number) = self;
        let secure = secure(request);
        HeaderValue::try_from(format!(
            "{COOKIE}={number}{secure}; Path=/; HttpOnly; SameSite=Lax"
        ))
        .ok()
    }
}

/// Gives a browser that has no session one, with the first page.
pub async fn begin_session(mut request: Request, next: Next) -> Response {
    let is_new = request.method().is_safe() && Session::read(request.headers()).is_none();
    let session = if is_new { Session::draw().ok() } else { None };
    let Some(session) = session else {
        return next.run(request).await;
    };

    let cookie = session.cookie(request.headers());
    request.extensions_mut().insert(session);
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));

    response
}

/// A form that one of our pages has posted.
pub struct Posted {
    /// The key in the cookie, which the API is asked with.
    pub key: Option<String>,
    fields: BTreeMap<String, Vec<String>>,
}

impl Posted {
    /// The first value of a field, without the spaces around it; empty where there is none.
    pub fn text(&self, name: &str) -> &str {
        self.all(name).first().map_or("", |value| value.trim())
    }

    /// The same, where it is not empty.
    pub fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// Every value of a field.
    pub fn all(&self, name: &str) -> &[String] {
        self.fields.get(name).map_or(&[], Vec::as_slice)
    }
}

impl FromRequest<Pages> for Posted {
    type Rejection = PageError;

    async fn from_request(request: Request, pages: &Pages) -> Result<Self, PageError> {
        if !is_same_origin(request.headers()) {
            return Err(PageError::Forged);
        }

        let key = cookie::read(request.headers()).map(ToOwned::to_owned);
        let session = Session::read(request.headers()).ok_or(PageError::Forged)?;
        let expected = pages.forms.token(key.as_deref(), &session);
        let form = axum::body::Bytes::from_request(request, pages).await;
        let form = form.map_err(|_| PageError::Unreadable)?;

        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(&form) {
            fields
                .entry(name.into_owned())
                .or_default()
                .push(value.into_owned());
        }

        let posted = Self { key, fields };
        let token = posted.text(FIELD).as_bytes();
        if expected.is_empty() || !bool::from(token.ct_eq(expected.as_bytes())) {
            return Err(PageError::Forged);
        }

        Ok(posted)
    }
}

/// Whether the browser says that one of our pages asks. Programs that say nothing are not browsers, which
/// nobody can make post for another.
pub fn is_same_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }

    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let named = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"));
    let asked = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    named
        .zip(asked)
        .is_some_and(|((_, named), asked)| named.eq_ignore_ascii_case(asked))
}

/// Behind a proxy that speaks TLS the cookies stay there.
pub fn secure(headers: &HeaderMap) -> &'static str {
    let tls = headers
        .get("x-forwarded-proto")
        .is_some_and(|proto| proto == "https");
    if tls { "; Secure" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_our_own_pages_are_of_the_same_origin() {
        let ours = [
            ("sec-fetch-site", "same-origin"),
            ("origin", "null"),
            ("host", "a"),
        ];
        assert!(is_same_origin(&headers(&ours)));
        assert!(is_same_origin(&headers(&[
            ("origin", "https://a:8080"),
            ("host", "a:8080")
        ])));
        assert!(is_same_origin(&headers(&[("host", "a")])), "no browser");
        for foreign in [
            &[
                ("sec-fetch-site", "same-site"),
                ("origin", "http://a:1"),
                ("host", "a:1"),
            ][..],
            &[("sec-fetch-site", "cross-site"), ("host", "a")],
            &[("sec-fetch-site", "none"), ("host", "a")],
            &[("origin", "http://a:2"), ("host", "a:1")],
            &[("origin", "null"), ("host", "a")],
            &[("origin", "http://a")],
        ] {
            assert!(!is_same_origin(&headers(foreign)), "{foreign:?}");
        }
    }

    #[test]
    fn a_token_is_of_one_session_and_one_key() {
        let secret = FormSecret::draw().unwrap();
        let (one, other) = (Session::draw().unwrap(), Session::draw().unwrap());
        let token = secret.token(Some("rt_a"), &one);
        assert_eq!(
            token,
            FormSecret::draw().unwrap().token(Some("rt_a"), &one),
            "any process"
        );
        assert_eq!(token.len(), 64);
        for differs in [
            secret.token(Some("rt_b"), &one),
            secret.token(Some("rt_a"), &other),
            secret.token(None, &one),
        ] {
            assert_ne!(token, differs);
        }
        assert_ne!(
            secret.token(None, &one),
            FormSecret::draw().unwrap().token(None, &one)
        );
    }

    #[test]
    fn what_is_no_number_is_no_session() {
        for text in [
            "retune_session=",
            "retune_session=00",
            "retune_session=zz0102030405060708090a0b0c0d0e0f",
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, text.parse().unwrap());
            assert!(Session::read(&headers).is_none(), "{text}");
        }
    }
}
