//! Why there is no page, as a page.

use axum::{
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Redirect, Response},
};

use super::{frame::Frame, refusal::Refusal, render};
use crate::service::results::ResultError;

#[derive(Debug, thiserror::Error)]
pub enum PageError {
    #[error("a key is needed")]
    NoKey,
    /// The same, with where one goes on from the form.
    #[error("a key is needed")]
    Enter { next: String },
    #[error("There is nothing of this name here.")]
    NotFound,
    #[error("This page is for keys with the role admin.")]
    NeedsAdmin,
    #[error("This page is for keys with the role submit or admin.")]
    NeedsSubmit,
    #[error(
        "This form is no longer valid: it was made by another session, or by another site. Open its page again."
    )]
    Forged,
    #[error("A name has letters, digits, - _ and . and does not begin with a dot.")]
    Name,
    #[error("The form was not received whole.")]
    Unreadable,
    #[error("Too many requests. Reload in a moment.")]
    TooMany,
    #[error("{}", .0.detail)]
    Refused(Refusal),
    #[error("The database does not answer. Reload in a moment.")]
    Database(#[from] sqlx::Error),
    #[error("The result cannot be read from storage.")]
    Result(#[from] ResultError),
    #[error("The page cannot be written.")]
    Template(#[from] askama::Error),
}

#[derive(askama::Template)]
#[template(path = "error.html", config = "src/service/dashboard/askama.toml")]
struct Page {
    frame: Frame,
    heading: &'static str,
    message: String,
    refusal: Option<Refusal>,
}

impl PageError {
    /// To the form, and back to what was asked for.
    pub fn enter(parts: &Parts) -> Self {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let next = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
        if parts.method.is_safe() && path != "/" {
            Self::Enter { next }
        } else {
            Self::NoKey
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoKey | Self::Enter { .. } => StatusCode::SEE_OTHER,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::NeedsAdmin | Self::NeedsSubmit | Self::Forged => StatusCode::FORBIDDEN,
            Self::Unreadable | Self::Name => StatusCode::BAD_REQUEST,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Refused(refusal) => refusal.status,
            Self::Database(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Result(_) => StatusCode::BAD_GATEWAY,
            Self::Template(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn heading(&self) -> &'static str {
        match self {
            Self::NotFound => "Not here",
            Self::NeedsAdmin | Self::NeedsSubmit => "Not with this key",
            Self::Forged | Self::Unreadable | Self::Name | Self::Refused(_) => {
                "Nothing was changed"
            }
            _ => "Not now",
        }
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        match &self {
            Self::NoKey => return Redirect::to("/login").into_response(),
            Self::Enter { next } => {
                return Redirect::to(&format!("/login?next={next}")).into_response();
            }
            _ => {}
        }

        let (status, heading, message) = (self.status(), self.heading(), self.to_string());
        if status.is_server_error() {
            tracing::error!(cause = ?self, "a page cannot be shown");
        }
        let refusal = if let Self::Refused(refusal) = self {
            Some(refusal)
        } else {
            None
        };
        let page = Page {
            frame: Frame::bare(heading),
            heading,
            message: message.clone(),
            refusal,
        };
        let page = render(&page).unwrap_or(Html(message));
        let mut response = (status, page).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
