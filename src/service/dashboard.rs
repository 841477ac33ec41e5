//! The pages for people: the list of transfers and one page for each, and the
//! registry with its retunes. They only read.
//!
//! Pages are whole without scripts; `live.js` (thirty lines, ours) fetches the same page again and
//! exchanges its middle. Everything shown is escaped by the templates, and the content security
//! policy allows no script, style or frame from elsewhere.
//!
//! Where keys are in use, a form takes one and keeps it in an HttpOnly, SameSite=Strict cookie.

mod curve;
mod format;
mod list;
mod registry;
mod report;
mod session;
mod transfer;

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};

use super::{results::ResultError, state::AppState};

const STYLE: &str = include_str!("dashboard/assets/style.css");
const SCRIPT: &str = include_str!("dashboard/assets/live.js");
const ICON: &str = include_str!("dashboard/assets/icon.svg");

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The pages and what they load.
pub fn router(state: AppState) -> Router {
    Router::new()
        .route("/", get(list::handle))
        .route("/models", get(registry::handle))
        .route("/transfers/{id}", get(transfer::handle))
        .route("/login", get(session::form).post(session::login))
        .route("/logout", axum::routing::post(session::logout))
        .route("/assets/style.css", get(|| async { asset("text/css; charset=utf-8", STYLE) }))
        .route("/assets/live.js", get(|| async { asset("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/assets/icon.svg", get(|| async { asset("image/svg+xml", ICON) }))
        .layer(from_fn(protect))
        .with_state(state)
}

fn asset(kind: &'static str, content: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=86400")];
    (headers, content).into_response()
}

async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }

    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error("a key is needed")]
    NoKey,
    #[error("There is no such transfer.")]
    NotFound,
    #[error("Too many requests. Reload in a moment.")]
    TooMany,
    #[error("The database does not answer. Reload in a moment.")]
    Database(#[from] sqlx::Error),
    #[error("The result cannot be read from storage.")]
    Result(#[from] ResultError),
    #[error("The page cannot be written.")]
    Template(#[from] askama::Error),
}

#[derive(askama::Template)]
#[template(path = "error.html", config = "src/service/dashboard/askama.toml")]
struct ErrorPage {
    frame: Frame,
    message: String,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NoKey => return Redirect::to("/login").into_response(),
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Database(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Result(_) => StatusCode::BAD_GATEWAY,
            Self::Template(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::error!(cause = ?self, "a page cannot be shown");
        }
        let page = ErrorPage { frame: Frame::still("retune"), message: self.to_string() };
        let page = render(&page).unwrap_or_else(|_| Html(self.to_string()));
        let mut response = (status, page).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

fn render(page: &impl askama::Template) -> Result<Html<String>, askama::Error> {
    Ok(Html(page.render()?))
}

/// What surrounds every page.
struct Frame {
    title: String,
    /// Seconds between two looks; 0 for a page that will not change.
    refresh: u32,
    /// Whether there is a session to leave.
    session: bool,
    version: &'static str,
}

impl Frame {
    fn still(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            refresh: 0,
            session: false,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}
