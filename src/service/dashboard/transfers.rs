//! Transfers: the list, one of them, and the form for another.

mod curve;
mod events;
mod list;
mod new;
mod page;
mod report;
mod snippets;
pub mod title;

pub use list::Row;

use axum::{
    Router,
    extract::{Path, State},
    response::Redirect,
    routing::{get, post},
};

use super::{Pages, error::PageError, through_api::Change, visit::forms::Posted};
use crate::contract::ids::TransferId;

pub fn router() -> Router<Pages> {
    Router::new()
        .route("/transfers", get(list::handle))
        .route("/transfers/new", get(new::form).post(new::send))
        .route("/transfers/{id}", get(page::handle))
        .route("/transfers/{id}/cancel", post(cancel))
        .route("/transfers/{id}/retry", post(retry))
}

async fn cancel(
    pages: State<Pages>,
    id: Path<String>,
    posted: Posted,
) -> Result<Redirect, PageError> {
    control(&pages, &id, "cancel", &posted).await
}

async fn retry(
    pages: State<Pages>,
    id: Path<String>,
    posted: Posted,
) -> Result<Redirect, PageError> {
    control(&pages, &id, "retry", &posted).await
}

async fn control(
    pages: &Pages,
    id: &str,
    verb: &str,
    posted: &Posted,
) -> Result<Redirect, PageError> {
    let id: TransferId = id.parse().map_err(|_| PageError::NotFound)?;
    pages
        .api
        .ask(posted, Change::post(&format!("/v1/transfers/{id}/{verb}")))
        .await?;
    Ok(Redirect::to(&format!("/transfers/{id}")))
}
