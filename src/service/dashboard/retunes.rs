//! Retunes: the list with the form for another, the grid of one, and its campaign as a report.

mod campaign;
mod grid;
mod list;
mod page;

use axum::{
    Router,
    extract::{Path, State},
    response::Redirect,
    routing::{get, post},
};
use serde_json::{Map, Value};

use super::{Pages, error::PageError, through_api::Change, visit::forms::Posted};
use crate::contract::ids::RetuneId;

pub fn router() -> Router<Pages> {
    Router::new()
        .route("/retunes", get(list::handle).post(begin))
        .route("/retunes/{id}", get(page::handle))
        .route("/retunes/{id}/campaign", get(campaign::handle))
        .route("/retunes/{id}/pause", post(pause))
        .route("/retunes/{id}/resume", post(resume))
        .route("/retunes/{id}/cancel", post(cancel))
}

/// Begins a retune onto a registered version, of all that depend on it or of those that are named.
async fn begin(State(pages): State<Pages>, posted: Posted) -> Result<Redirect, PageError> {
    let mut body = Map::new();
    for name in ["base_model", "version"] {
        body.insert(name.to_owned(), posted.text(name).into());
    }
    let named = posted
        .text("fine_tunes")
        .split([',', ' ', '\n'])
        .map(str::trim);
    let named: Vec<Value> = named
        .filter(|name| !name.is_empty())
        .map(Value::from)
        .collect();
    if !named.is_empty() {
        body.insert("fine_tunes".to_owned(), named.into());
    }
    if let Some(most) = posted.given("max_concurrent") {
        // What is no number is for the API to refuse.
        let most = most
            .parse::<i32>()
            .map_or_else(|_| Value::from(most), Value::from);
        body.insert(
            "limits".to_owned(),
            serde_json::json!({"max_concurrent": most}),
        );
    }

    let change = Change {
        once: posted.given("once"),
        ..Change::post("/v1/retunes").with(body.into())
    };
    let retune = pages.api.ask(&posted, change).await?;
    Ok(Redirect::to(&format!(
        "/retunes/{}",
        retune["id"].as_str().unwrap_or_default()
    )))
}

async fn pause(
    pages: State<Pages>,
    id: Path<String>,
    posted: Posted,
) -> Result<Redirect, PageError> {
    control(&pages, &id, "pause", &posted).await
}

async fn resume(
    pages: State<Pages>,
    id: Path<String>,
    posted: Posted,
) -> Result<Redirect, PageError> {
    control(&pages, &id, "resume", &posted).await
}

async fn cancel(
    pages: State<Pages>,
    id: Path<String>,
    posted: Posted,
) -> Result<Redirect, PageError> {
    control(&pages, &id, "cancel", &posted).await
}

async fn control(
    pages: &Pages,
    id: &str,
    verb: &str,
    posted: &Posted,
) -> Result<Redirect, PageError> {
    let id: RetuneId = id.parse().map_err(|_| PageError::NotFound)?;
    pages
        .api
        .ask(posted, Change::post(&format!("/v1/retunes/{id}/{verb}")))
        .await?;
    Ok(Redirect::to(&format!("/retunes/{id}")))
}
