//! Base models: the list, and one with its versions and what was tuned from them.

mod lineage;
mod list;
mod page;

use axum::{Router, routing::get};

use super::Pages;

pub fn router() -> Router<Pages> {
    Router::new()
        .route("/base-models", get(list::handle))
        .route("/base-models/{name}", get(page::handle))
}
