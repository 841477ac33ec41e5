//! The OpenAPI document, generated from the handlers, and the page that shows it.

mod finish;

use axum::{
    Json, Router,
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Components, Info, License, Server,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_swagger_ui::SwaggerUi;

/// The parts of the document that no handler owns.
#[derive(OpenApi)]
#[openapi(
    tags(
        (name = "transfers", description = "One tuning carried over to one new base model."),
        (name = "base_models", description = "What models are tuned from: versions and aliases."),
        (name = "fine_tunes", description = "Tunings that are carried over to what comes next, and what came of it."),
        (name = "retunes", description = "All transfers of one new base version, of an alias that moved, or of a wish."),
        (name = "api_keys", description = "Who may call; for `admin` keys."),
        (name = "audit_events", description = "Who did what; for `admin` keys."),
        (name = "webhook_endpoints", description = "Who is told of events, and what came of it; for `admin` keys."),
        (name = "events", description = "All that happens to what a tenant has."),
        (name = "workers", description = "The processes that compute."),
        (name = "overview", description = "Whether all is well, in a few counts."),
        (name = "service", description = "Health, figures, this document."),
    ),
    modifiers(&Head)
)]
pub struct Document;

impl Document {
    /// What is known only when all routes are in.
    pub fn finish(document: &mut utoipa::openapi::OpenApi) {
        let mut here = Server::new("/");
        here.description = Some("The service that gives this document".to_owned());
        document.servers = Some(vec![here]);
        finish::finish(document);
    }
}

struct Head;

impl Modify for Head {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut info = Info::new("retune", env!("CARGO_PKG_VERSION"));
        info.description = Some(DESCRIPTION.to_owned());
        let mut license = License::new(env!("CARGO_PKG_LICENSE"));
        license.identifier = Some(env!("CARGO_PKG_LICENSE").to_owned());
        info.license = Some(license);
        document.info = info;
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A key made by `retune keys create` or `POST /v1/api_keys`.",
            ))
            .build();

        document
            .components
            .get_or_insert_with(Components::new)
            .add_security_scheme("api_key", SecurityScheme::Http(bearer));
    }
}

const DESCRIPTION: &str = "Carries the tuning of one neural network over to a new base model.\n\n\
    Errors are RFC 9457 `application/problem+json` with a stable `code` and, for faulty fields, \
    `errors: [{pointer, detail}]`. A path id that is malformed, unknown or another tenant's \
    answers 404. Times are RFC 3339, ids UUIDv7. Lists are newest first: \
    `{\"data\": […], \"next\": cursor or null}`.";

/// This document (OpenAPI 3.1).
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "service",
    operation_id = "openapi",
    responses((status = 200, body = serde_json::Value, description = "The OpenAPI document"))
)]
pub async fn show() -> Response {
    (
        [(header::CACHE_CONTROL, "no-cache")],
        Json(super::openapi()),
    )
        .into_response()
}

/// The interactive page at `/docs/`; its files are compiled in.
pub fn pages() -> Router {
    let config = utoipa_swagger_ui::Config::from("/openapi.json");
    SwaggerUi::new("/docs").config(config).into()
}

#[cfg(test)]
mod tests;
