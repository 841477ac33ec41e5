//! `/webhooks`: the endpoints, and the form for another.

use axum::{
    extract::State,
    http::Method,
    response::{Html, IntoResponse, Redirect, Response},
};
use serde_json::json;
use time::OffsetDateTime;

use super::keys::{Made, made};
use crate::{
    contract::events::EventKind,
    service::{
        dashboard::{
            Pages,
            error::PageError,
            format,
            frame::{Frame, Section},
            render,
            through_api::Change,
            visit::{Administrator, Visitor, forms::Posted},
        },
        database::webhook_endpoints,
        domain::events::{Endpoint, is_name},
        state::AppState,
    },
};

/// A tenant has few.
const ROWS: i64 = 200;

#[derive(askama::Template)]
#[template(
    path = "operations/webhooks.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    kinds: String,
    rows: Vec<Row>,
}

pub struct Row {
    pub name: String,
    pub url: String,
    pub events: String,
    pub state: &'static str,
    pub class: &'static str,
    pub why: String,
}

pub async fn handle(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
) -> Result<Html<String>, PageError> {
    let tenant = visitor.principal.tenant;
    let found = webhook_endpoints::list(&state.database, tenant, None, ROWS).await?;
    let now = OffsetDateTime::now_utc();

    Ok(render(&Page {
        frame: visitor.frame(Section::Webhooks, "Webhooks"),
        kinds: EventKind::list(),
        rows: found
            .into_iter()
            .map(|endpoint| Row::of(endpoint, now))
            .collect(),
    })?)
}

/// Adds an endpoint, or changes the one of this name; the secret is shown where one was drawn.
pub async fn put(
    State(pages): State<Pages>,
    visitor: Visitor,
    posted: Posted,
) -> Result<Response, PageError> {
    let name = posted.text("name").to_owned();
    if !is_name(&name) {
        return Err(PageError::Name);
    }

    let events = posted
        .text("events")
        .split(',')
        .map(str::trim)
        .filter(|kind| !kind.is_empty());
    let events: Vec<&str> = events.collect();
    let enabled = posted.text("enabled") != "false";
    let body = json!({"url": posted.text("url"), "events": events, "enabled": enabled});
    let path = format!("/v1/webhook_endpoints/{name}");
    let change = Change {
        method: Method::PUT,
        ..Change::post(&path).with(body)
    };
    let endpoint = pages.api.ask(&posted, change).await?;

    let back = format!("/webhooks/{name}");
    match endpoint["secret"].as_str() {
        None => Ok(Redirect::to(&back).into_response()),
        Some(secret) => made(
            &visitor,
            Made {
                section: Section::Webhooks,
                heading: format!("The endpoint {name} is added"),
                what: "It verifies the signature of every webhook (Standard Webhooks).".into(),
                secret: secret.to_owned(),
                back,
            },
        ),
    }
}

impl Row {
    pub fn of(endpoint: Endpoint, now: OffsetDateTime) -> Self {
        let (state, class, why) = match (
            endpoint.enabled,
            endpoint.disabled_reason,
            endpoint.failing_since,
        ) {
            (false, reason, _) => ("disabled", "failed", reason.unwrap_or_default()),
            (true, _, Some(since)) => (
                "failing",
                "failed",
                format!("first {}", format::age(since, now)),
            ),
            (true, _, None) => ("well", "succeeded", String::new()),
        };
        Self {
            name: endpoint.name,
            url: endpoint.url,
            events: endpoint.events.join(", "),
            state,
            class,
            why,
        }
    }
}
