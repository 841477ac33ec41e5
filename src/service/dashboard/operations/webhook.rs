//! `/webhooks/{name}`: one endpoint and its deliveries; test, replay, rotate, remove.

use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    http::Method,
    response::{Html, Redirect, Response},
};
use serde::Deserialize;
use time::OffsetDateTime;

use super::{
    keys::{Made, made},
    webhooks::Row,
};
use crate::{
    contract::ids::DeliveryId,
    service::{
        dashboard::{
            Pages,
            action::Action,
            error::PageError,
            format,
            frame::{Frame, Section},
            render,
            through_api::Change,
            visit::{Administrator, Visitor, forms::Posted},
        },
        database::{
            deliveries::{self, ListFilter},
            webhook_endpoints,
        },
        domain::events::{Delivery, DeliveryStatus, is_name},
        state::AppState,
    },
};

/// Rows a page.
const ROWS: usize = 30;

#[derive(Default, Deserialize)]
pub struct Asked {
    after: Option<String>,
}

#[derive(askama::Template)]
#[template(
    path = "operations/webhook.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    row: Row,
    enabled: bool,
    actions: Vec<Action>,
    deliveries: Vec<Told>,
    next: Option<DeliveryId>,
}

struct Told {
    kind: String,
    /// The page of what it is about, where there is one.
    href: Option<String>,
    status: String,
    class: &'static str,
    answer: String,
    attempts: i32,
    created_at: String,
    age: String,
    replay: Action,
}

pub async fn handle(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Path(name): Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let (database, tenant) = (&state.database, visitor.principal.tenant);
    let name = name.replace('\0', "");
    let endpoint = webhook_endpoints::get(database, tenant, &name).await?;
    let endpoint = endpoint.ok_or(PageError::NotFound)?;
    let after = asked
        .ok()
        .and_then(|Query(asked)| asked.after?.parse().ok());
    let limit = i64::try_from(ROWS + 1).unwrap_or(i64::MAX);
    let filter = ListFilter {
        status: None,
        after,
        limit,
    };
    let mut found = deliveries::list(database, tenant, &name, &filter).await?;
    let more = found.len() > ROWS;
    found.truncate(ROWS);
    let now = OffsetDateTime::now_utc();

    Ok(render(&Page {
        frame: visitor.frame(Section::Webhooks, &name).every(4),
        enabled: endpoint.enabled,
        actions: actions(&visitor, &name),
        next: found.last().filter(|_| more).map(|last| last.id),
        deliveries: found
            .into_iter()
            .map(|one| Told::of(&visitor, &name, one, now))
            .collect(),
        row: Row::of(endpoint, now),
    })?)
}

fn actions(visitor: &Visitor, name: &str) -> Vec<Action> {
    vec![
        Action::new(visitor, "Test", format!("/webhooks/{name}/test")),
        Action::new(visitor, "New secret", format!("/webhooks/{name}/rotate"))
            .asking("For 24 hours webhooks are signed with both, then with the new one alone."),
        Action::new(visitor, "Remove", format!("/webhooks/{name}/delete"))
            .asking("The history of its deliveries goes with it.")
            .danger(),
    ]
}

impl Told {
    fn of(visitor: &Visitor, endpoint: &str, one: Delivery, now: OffsetDateTime) -> Self {
        let code = one.response_status.map(|status| status.to_string());
        let answer: Vec<String> = code.into_iter().chain(one.error).collect();
        let replay = Action::new(
            visitor,
            "Replay",
            format!("/webhooks/{endpoint}/deliveries/{}/replay", one.id),
        );
        Self {
            href: one
                .subject
                .starts_with("transfers/")
                .then(|| format!("/{}", one.subject)),
            replay: replay.about(one.kind.text()),
            kind: one.kind.to_string(),
            status: format::label(&one.status),
            class: match one.status {
                DeliveryStatus::Pending => "running",
                DeliveryStatus::Delivered => "succeeded",
                DeliveryStatus::Failed => "failed",
            },
            answer: answer.join(": "),
            attempts: one.attempts,
            created_at: format::instant(one.created_at),
            age: format::age(one.created_at, now),
        }
    }
}

pub async fn test(
    State(pages): State<Pages>,
    Path(name): Path<String>,
    posted: Posted,
) -> Result<Redirect, PageError> {
    let path = format!("{}/test", place(&name)?);
    pages.api.ask(&posted, Change::post(&path)).await?;
    Ok(Redirect::to(&format!("/webhooks/{name}")))
}

pub async fn replay(
    State(pages): State<Pages>,
    Path((name, id)): Path<(String, String)>,
    posted: Posted,
) -> Result<Redirect, PageError> {
    let id: DeliveryId = id.parse().map_err(|_| PageError::NotFound)?;
    let path = format!("{}/deliveries/{id}/replay", place(&name)?);
    pages.api.ask(&posted, Change::post(&path)).await?;
    Ok(Redirect::to(&format!("/webhooks/{name}")))
}

pub async fn delete(
    State(pages): State<Pages>,
    Path(name): Path<String>,
    posted: Posted,
) -> Result<Redirect, PageError> {
    let path = place(&name)?;
    let change = Change {
        method: Method::DELETE,
        ..Change::post(&path)
    };
    pages.api.ask(&posted, change).await?;
    Ok(Redirect::to("/webhooks"))
}

pub async fn rotate(
    State(pages): State<Pages>,
    visitor: Visitor,
    Path(name): Path<String>,
    posted: Posted,
) -> Result<Response, PageError> {
    let path = format!("{}/rotate", place(&name)?);
    let endpoint = pages.api.ask(&posted, Change::post(&path)).await?;
    made(
        &visitor,
        Made {
            section: Section::Webhooks,
            heading: format!("{name} has a new secret"),
            what: "For 24 hours the one before it signs too.".into(),
            secret: endpoint["secret"].as_str().unwrap_or_default().to_owned(),
            back: format!("/webhooks/{name}"),
        },
    )
}

/// What can be a name needs no encoding in a path.
fn place(name: &str) -> Result<String, PageError> {
    if is_name(name) {
        Ok(format!("/v1/webhook_endpoints/{name}"))
    } else {
        Err(PageError::NotFound)
    }
}
