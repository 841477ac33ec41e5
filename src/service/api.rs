//! The HTTP interface. An endpoint with types or errors of its own has its own file; the plain reads of a
//! resource share `read`, its transitions `control`.
//!
//! A request passes [`layers`], is authenticated by asking for a caller of a role
//! ([`authentication`]), read by [`extract`], answered by its handler, and every refusal on that
//! way is a [`problem::Problem`]. No handler computes on its own thread: handlers read and move rows, and look at
//! stored results.

mod api_keys;
mod audit_events;
mod authentication;
mod base_models;
mod callback_secret;
mod documentation;
mod etag;
mod event_stream;
mod events;
mod extract;
mod fine_tunes;
mod health;
mod idempotency;
mod inbound;
mod layers;
mod loopback;
mod me;
mod method;
mod metrics;
mod overview;
mod page;
pub mod problem;
mod refusals;
mod retunes;
mod transfers;
mod webhook_endpoints;
mod workers;

use std::{
    future::{Ready, ready},
    sync::LazyLock,
};

use axum::{
    Extension, Router, extract::State, middleware::from_fn_with_state, response::Response,
    routing::get,
};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::database::Database;

pub use super::state::AppState;

/// Routes that answer at once, in the order of the document.
fn bounded() -> OpenApiRouter<AppState> {
    let router = OpenApiRouter::with_openapi(documentation::Document::openapi())
        .routes(routes!(transfers::list::handle, transfers::create::handle))
        .routes(routes!(transfers::plan::handle))
        .routes(routes!(transfers::report::handle))
        .routes(routes!(transfers::position::handle))
        .routes(routes!(transfers::control::cancel))
        .routes(routes!(transfers::control::retry))
        .routes(routes!(transfers::evaluations::handle));

    with_access(with_registry(router))
}

/// Adds base models, fine-tunes and retunes.
fn with_registry(router: OpenApiRouter<AppState>) -> OpenApiRouter<AppState> {
    router
        .routes(routes!(base_models::read::list))
        .routes(routes!(
            base_models::read::get,
            base_models::put::handle,
            base_models::delete::handle
        ))
        .routes(routes!(
            base_models::versions::read::get,
            base_models::versions::delete::handle
        ))
        .routes(routes!(
            base_models::aliases::read::get,
            base_models::aliases::put::handle
        ))
        .routes(routes!(base_models::aliases::read::moves))
        .routes(routes!(base_models::arrivals::list::handle))
        .routes(routes!(
            base_models::inbound_tokens::list::handle,
            base_models::inbound_tokens::create::handle
        ))
        .routes(routes!(base_models::inbound_tokens::delete::handle))
        .routes(routes!(fine_tunes::read::list))
        .routes(routes!(
            fine_tunes::read::get,
            fine_tunes::put::handle,
            fine_tunes::delete::handle
        ))
        .routes(routes!(fine_tunes::versions::read::list))
        .routes(routes!(fine_tunes::versions::read::get))
        .routes(routes!(fine_tunes::versions::control::promote))
        .routes(routes!(fine_tunes::versions::control::rollback))
        .routes(routes!(
            fine_tunes::aliases::read::get,
            fine_tunes::aliases::put::handle
        ))
        .routes(routes!(fine_tunes::aliases::read::moves))
        .routes(routes!(inbound::handle, inbound::allow))
        .routes(routes!(retunes::read::list, retunes::create::handle))
        .routes(routes!(retunes::read::get))
        .routes(routes!(retunes::control::pause))
        .routes(routes!(retunes::control::resume))
        .routes(routes!(retunes::control::cancel))
}

/// Adds keys, webhooks and the service itself.
fn with_access(router: OpenApiRouter<AppState>) -> OpenApiRouter<AppState> {
    router
        .routes(routes!(api_keys::list::handle, api_keys::create::handle))
        .routes(routes!(api_keys::revoke::handle))
        .routes(routes!(webhook_endpoints::read::list))
        .routes(routes!(
            webhook_endpoints::read::get,
            webhook_endpoints::put::handle,
            webhook_endpoints::control::delete
        ))
        .routes(routes!(webhook_endpoints::control::rotate))
        .routes(routes!(webhook_endpoints::deliveries::handle))
        .routes(routes!(webhook_endpoints::control::replay))
        .routes(routes!(webhook_endpoints::control::test))
        .routes(routes!(callback_secret::rotate::handle))
        .routes(routes!(audit_events::list::handle))
        .routes(routes!(workers::handle))
        .routes(routes!(me::handle))
        .routes(routes!(overview::handle))
        .routes(routes!(retunes::report::handle))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::show))
        .routes(routes!(documentation::show))
}

/// Routes that may stay open for long and bound themselves, and the one that must be fast.
fn unbounded() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(transfers::get::handle, transfers::delete::handle))
        .routes(routes!(transfers::events::handle))
        .routes(routes!(events::handle))
        .routes(routes!(transfers::files::handle))
        // A name with a folder in it, its slash not encoded.
        .route(
            "/v1/transfers/{id}/files/{folder}/{file}",
            get(transfers::files::handle),
        )
        .routes(routes!(
            base_models::versions::read::list,
            base_models::versions::create::handle
        ))
}

static OPENAPI: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(|| {
    let (_, mut document) = bounded().merge(unbounded()).split_for_parts();
    documentation::Document::finish(&mut document);
    document
});

/// The OpenAPI 3.1 document of every route.
pub fn openapi() -> &'static utoipa::openapi::OpenApi {
    &OPENAPI
}

/// What a worker process answers that serves nothing else: that it lives, and its figures.
pub fn worker_router(database: Database) -> Router {
    super::metrics::recorder();
    Router::new()
        .route("/healthz", get(health::live))
        .route("/metrics", get(process_figures))
        .with_state(database)
}

fn process_figures(State(database): State<Database>) -> Ready<Response> {
    ready(metrics::of_process(&database))
}

/// The whole interface, ready to serve. `pages` makes the dashboard, which shares its surroundings. It is given
/// the routes of the API, so that what its forms do is what the API does.
pub fn router(state: AppState, pages: impl FnOnce(Router) -> Router) -> Router {
    super::metrics::recorder();
    let http = state.settings.http.clone();
    let (bounded, _) = bounded().with_state(state.clone()).split_for_parts();
    let (unbounded, _) = unbounded().with_state(state.clone()).split_for_parts();
    let bounded = layers::bounded(bounded.merge(documentation::pages()), http.request_timeout);
    let refusals = from_fn_with_state(state.clone(), refusals::record);
    let body_timeout = Extension(extract::BodyTimeout(http.request_timeout));
    let routes = bounded.merge(unbounded).layer(refusals).layer(body_timeout);

    let pages = layers::bounded(pages(routes.clone()), http.request_timeout);
    let guard = from_fn_with_state(state, loopback::guard);
    layers::common(routes.merge(pages).layer(guard), http.body_limit)
}
