//! What endpoints may answer, for the OpenAPI document.

use utoipa::IntoResponses;

use super::Problem;

/// What every endpoint that asks for a key may answer.
#[derive(IntoResponses)]
pub enum Refusals {
    /// No key, or one that is not (any more) valid: `unauthenticated`.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(Problem),
    /// The key's role does not reach: `forbidden`.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// Any other error, in the same shape.
    #[response(status = "default", content_type = "application/problem+json")]
    Other(Problem),
}

/// What every endpoint may answer whose path names something.
#[derive(IntoResponses)]
pub enum Missing {
    /// `not_found`
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
}

/// What every endpoint that reads a body may answer.
#[derive(IntoResponses)]
pub enum BodyRefusals {
    /// `malformed_json`
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// `body_too_large`
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// `unsupported_media_type`, `unsupported_content_encoding`
    #[response(status = 415, content_type = "application/problem+json")]
    Unsupported(Problem),
}

/// What every endpoint that reads nothing but a query may answer.
#[derive(IntoResponses)]
pub enum QueryRefusals {
    /// `invalid_query`
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
}
