//! The pages for people: what there is, how it is, and the buttons to change it.
//!
//! Pages are whole without scripts; `live.js` (a few lines, ours) fetches the same page again and
//! exchanges its middle. Everything shown is escaped by the templates, and the content security
//! policy allows no script, style or frame from elsewhere.
//!
//! What a page shows it reads from the database as the API does. What it changes it asks the API for
//! ([`through_api`]), with a form that only our own pages can post ([`visit::forms`]). Where keys are in use, a
//! form takes one and keeps it in an HttpOnly, SameSite=Strict cookie ([`visit::session`]).

mod action;
mod base_models;
mod error;
mod fine_tunes;
mod format;
mod frame;
mod operations;
mod overview;
mod refusal;
mod retunes;
mod through_api;
mod transfers;
mod visit;

use std::sync::Arc;

use axum::{
    Router,
    extract::{FromRef, Request},
    http::{HeaderName, HeaderValue, header},
    middleware::{Next, from_fn},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};

use self::{
    through_api::Api,
    visit::{
        forms::{self, FormSecret},
        session,
    },
};
use super::state::AppState;

const STYLE: &str = include_str!("dashboard/assets/style.css");
const SCRIPT: &str = include_str!("dashboard/assets/live.js");
const ICON: &str = include_str!("dashboard/assets/icon.svg");

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What the handlers of pages share.
#[derive(Clone)]
pub struct Pages {
    state: AppState,
    api: Api,
    forms: Arc<FormSecret>,
}

impl FromRef<Pages> for AppState {
    fn from_ref(pages: &Pages) -> Self {
        pages.state.clone()
    }
}

/// The pages and what they load. `api` are the routes that the forms' handlers ask.
pub fn router(state: AppState, api: Router) -> Router {
    // Without randomness there is no form that could be trusted, nor any key.
    let forms = FormSecret::draw().map_or_else(|_| Arc::default(), Arc::new);
    let pages = Pages {
        state: state.clone(),
        api: Api::new(api),
        forms,
    };
    let sign_in = Router::new()
        .route("/login", get(session::form).post(session::login))
        .with_state(state);

    Router::new()
        .route("/", get(overview::handle))
        .route("/logout", post(session::logout))
        .merge(transfers::router())
        .merge(retunes::router())
        .merge(fine_tunes::router())
        .merge(base_models::router())
        .merge(operations::router())
        .with_state(pages)
        .merge(sign_in)
        .layer(from_fn(forms::begin_session))
        .route(
            "/assets/style.css",
            get(|| async { asset("text/css; charset=utf-8", STYLE) }),
        )
        .route(
            "/assets/live.js",
            get(|| async { asset("text/javascript; charset=utf-8", SCRIPT) }),
        )
        .route(
            "/assets/icon.svg",
            get(|| async { asset("image/svg+xml", ICON) }),
        )
        .layer(from_fn(protect))
}

fn asset(kind: &'static str, content: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=86400"),
    ];
    (headers, content).into_response()
}

async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // To ourselves, so that browsers say in `Origin` which page posts a form; to others nothing.
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }

    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn render(page: &impl askama::Template) -> Result<Html<String>, askama::Error> {
    Ok(Html(page.render()?))
}
