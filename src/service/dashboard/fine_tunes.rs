//! Fine-tunes: the list, one with its versions, and two versions side by side.

mod compare;
mod list;
mod page;

pub use list::stale;

use axum::{
    Router,
    extract::{Path, State},
    http::Method,
    response::Redirect,
    routing::{get, post},
};
use serde_json::json;

use super::{Pages, error::PageError, through_api::Change, visit::forms::Posted};
use crate::service::domain::registry::{PRODUCTION, is_name};

pub fn router() -> Router<Pages> {
    Router::new()
        .route("/fine-tunes", get(list::handle))
        .route("/fine-tunes/{name}", get(page::handle))
        .route("/fine-tunes/{name}/compare", get(compare::handle))
        .route(
            "/fine-tunes/{name}/versions/{version}/promote",
            post(promote),
        )
        .route(
            "/fine-tunes/{name}/versions/{version}/rollback",
            post(roll_back),
        )
        .route("/fine-tunes/{name}/protect", post(protect))
        .route("/fine-tunes/{name}/unprotect", post(unprotect))
}

async fn promote(
    pages: State<Pages>,
    Path((name, version)): Path<(String, i32)>,
    posted: Posted,
) -> Result<Redirect, PageError> {
    let path = format!("/v1/fine_tunes/{name}/versions/{version}/promote");
    move_alias(&pages, &name, &path, &posted).await
}

async fn roll_back(
    pages: State<Pages>,
    Path((name, version)): Path<(String, i32)>,
    posted: Posted,
) -> Result<Redirect, PageError> {
    let path = format!("/v1/fine_tunes/{name}/versions/{version}/rollback");
    move_alias(&pages, &name, &path, &posted).await
}

async fn protect(
    pages: State<Pages>,
    Path(name): Path<String>,
    posted: Posted,
) -> Result<Redirect, PageError> {
    set_protection(&pages, &name, &posted, true).await
}

async fn unprotect(
    pages: State<Pages>,
    Path(name): Path<String>,
    posted: Posted,
) -> Result<Redirect, PageError> {
    set_protection(&pages, &name, &posted, false).await
}

async fn set_protection(
    pages: &Pages,
    name: &str,
    posted: &Posted,
    protected: bool,
) -> Result<Redirect, PageError> {
    let alias = posted.given("alias").unwrap_or(PRODUCTION);
    if !is_name(name) || !is_name(alias) {
        return Err(PageError::NotFound);
    }
    let path = format!("/v1/fine_tunes/{name}/aliases/{alias}");
    let change = Change {
        method: Method::PUT,
        ..Change::post(&path).with(json!({"protected": protected}))
    };
    pages.api.ask(posted, change).await?;
    Ok(Redirect::to(&format!("/fine-tunes/{name}")))
}

async fn move_alias(
    pages: &Pages,
    name: &str,
    path: &str,
    posted: &Posted,
) -> Result<Redirect, PageError> {
    // What can be a name needs no encoding in a path.
    if !is_name(name) {
        return Err(PageError::NotFound);
    }
    let alias = posted.given("alias").unwrap_or(PRODUCTION);
    pages
        .api
        .ask(posted, Change::post(path).with(json!({"alias": alias})))
        .await?;
    Ok(Redirect::to(&format!("/fine-tunes/{name}")))
}
