//! `/audit`: who did what.

use std::collections::HashMap;

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Html,
};
use serde::Deserialize;
use time::OffsetDateTime;

use crate::{
    contract::ids::KeyId,
    service::{
        dashboard::{
            error::PageError,
            format,
            frame::{Frame, Section},
            render,
            visit::Administrator,
        },
        database::{
            api_keys,
            audit_events::{self, ListFilter},
        },
        domain::access::{AuditEvent, AuditOutcome},
        state::AppState,
    },
};

/// Rows a page.
const ROWS: usize = 50;
/// Keys whose names are shown instead of their ids.
const NAMES: i64 = 1000;

#[derive(Default, Deserialize)]
pub struct Asked {
    after: Option<String>,
    outcome: Option<String>,
}

#[derive(askama::Template)]
#[template(
    path = "operations/audit.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    next: Option<String>,
}

struct Tab {
    name: &'static str,
    href: &'static str,
    current: bool,
}

struct Row {
    created_at: String,
    age: String,
    action: String,
    subject: String,
    href: Option<String>,
    by: String,
    outcome: &'static str,
    class: &'static str,
    code: String,
}

pub async fn handle(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let asked = asked.map(|Query(asked)| asked).unwrap_or_default();
    let outcome = match asked.outcome.as_deref() {
        Some("refused") => Some(AuditOutcome::Refused),
        Some("done") => Some(AuditOutcome::Done),
        _ => None,
    };
    let after = asked.after.and_then(|after| after.parse().ok());
    let limit = i64::try_from(ROWS + 1).unwrap_or(i64::MAX);
    let filter = ListFilter {
        outcome,
        after,
        limit,
        ..ListFilter::default()
    };

    let tenant = visitor.principal.tenant;
    let mut found = audit_events::list(&state.database, tenant, &filter).await?;
    let keys = api_keys::list(&state.database, tenant, None, NAMES).await?;
    let names: HashMap<KeyId, String> = keys.into_iter().map(|key| (key.id, key.name)).collect();
    let more = found.len() > ROWS;
    found.truncate(ROWS);
    let now = OffsetDateTime::now_utc();
    let next = found.last().filter(|_| more).map(|last| match outcome {
        Some(AuditOutcome::Refused) => format!("/audit?outcome=refused&after={}", last.id),
        Some(AuditOutcome::Done) => format!("/audit?outcome=done&after={}", last.id),
        None => format!("/audit?after={}", last.id),
    });

    Ok(render(&Page {
        frame: visitor.frame(Section::Audit, "Audit"),
        tabs: tabs(outcome),
        rows: found
            .into_iter()
            .map(|event| Row::of(event, &names, now))
            .collect(),
        next,
    })?)
}

fn tabs(outcome: Option<AuditOutcome>) -> Vec<Tab> {
    let tabs = [
        ("all", "/audit", None),
        ("done", "/audit?outcome=done", Some(AuditOutcome::Done)),
        (
            "refused",
            "/audit?outcome=refused",
            Some(AuditOutcome::Refused),
        ),
    ];
    tabs.into_iter()
        .map(|(name, href, of)| Tab {
            name,
            href,
            current: of == outcome,
        })
        .collect()
}

impl Row {
    fn of(event: AuditEvent, names: &HashMap<KeyId, String>, now: OffsetDateTime) -> Self {
        let by = event
            .key
            .map(|key| names.get(&key).cloned().unwrap_or_else(|| key.to_string()));
        let (outcome, class) = match event.outcome {
            AuditOutcome::Done => ("done", "succeeded"),
            AuditOutcome::Refused => ("refused", "failed"),
        };
        Self {
            created_at: format::instant(event.created_at),
            age: format::age(event.created_at, now),
            action: event.action.text().to_owned(),
            href: page_of(&event.subject),
            subject: event.subject,
            by: by.unwrap_or_else(|| "the service, or no key".into()),
            outcome,
            class,
            code: event.code.unwrap_or_default(),
        }
    }
}

/// The page of what the API calls so.
fn page_of(subject: &str) -> Option<String> {
    let mut parts = subject.split('/');
    let (kind, name) = (parts.next()?, parts.next()?);
    let folder = match kind {
        "transfers" => "transfers",
        "retunes" => "retunes",
        "fine_tunes" => "fine-tunes",
        "base_models" => "base-models",
        "webhook_endpoints" => "webhooks",
        _ => return None,
    };
    (!name.is_empty() && name.chars().all(is_plain)).then(|| format!("/{folder}/{name}"))
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._+-".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_page_is_linked() {
        assert_eq!(
            page_of("fine_tunes/news/versions/2").as_deref(),
            Some("/fine-tunes/news")
        );
        assert_eq!(page_of("transfers/1").as_deref(), Some("/transfers/1"));
        for none in ["api_keys/1", "transfers", "transfers/", "fine_tunes/a?b"] {
            assert_eq!(page_of(none), None, "{none}");
        }
    }
}
