//! What operators look at: workers; and for administrators webhooks with their deliveries, keys, the audit log.

mod audit;
mod keys;
mod webhook;
mod webhooks;
mod workers;

use axum::{
    Router,
    routing::{get, post},
};

use super::Pages;

pub fn router() -> Router<Pages> {
    Router::new()
        .route("/workers", get(workers::handle))
        .route("/webhooks", get(webhooks::handle).post(webhooks::put))
        .route("/webhooks/{name}", get(webhook::handle))
        .route("/webhooks/{name}/test", post(webhook::test))
        .route("/webhooks/{name}/rotate", post(webhook::rotate))
        .route("/webhooks/{name}/delete", post(webhook::delete))
        .route(
            "/webhooks/{name}/deliveries/{id}/replay",
            post(webhook::replay),
        )
        .route("/keys", get(keys::handle).post(keys::create))
        .route("/keys/{id}/revoke", post(keys::revoke))
        .route("/audit", get(audit::handle))
}
