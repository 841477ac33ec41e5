//! `/retunes`: the retunes with their counts, newest first.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Html,
};
use serde::Deserialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    contract::ids::RetuneId,
    service::{
        dashboard::{
            error::PageError,
            format,
            frame::{Frame, Section},
            render,
            visit::Visitor,
        },
        database::{
            base_models,
            retunes::{self, ListFilter},
        },
        domain::{
            access::Role,
            registry::retunes::{Counts, Retune},
        },
        state::AppState,
    },
};

/// Rows a page.
const ROWS: usize = 30;
/// Names offered in the form.
const NAMES: i64 = 200;

#[derive(Default, Deserialize)]
pub struct Asked {
    after: Option<String>,
}

#[derive(askama::Template)]
#[template(
    path = "retunes/list.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    submits: bool,
    once: String,
    models: Vec<String>,
    rows: Vec<Row>,
    next: Option<RetuneId>,
}

/// A retune in a table.
pub struct Row {
    pub id: RetuneId,
    pub status: &'static str,
    pub status_name: String,
    pub base: String,
    pub reason: String,
    pub bar: format::Bar,
    pub counts: String,
    pub created_at: String,
    pub age: String,
}

pub async fn handle(
    State(state): State<AppState>,
    visitor: Visitor,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let tenant = visitor.principal.tenant;
    let after = asked
        .ok()
        .and_then(|Query(asked)| asked.after?.parse().ok());
    let limit = i64::try_from(ROWS + 1).unwrap_or(i64::MAX);
    let filter = ListFilter {
        limit,
        after,
        ..ListFilter::default()
    };
    let mut found = retunes::list(&state.database, tenant, &filter).await?;
    let models = base_models::list(&state.database, tenant, None, NAMES).await?;
    let more = found.len() > ROWS;
    found.truncate(ROWS);
    let now = OffsetDateTime::now_utc();

    Ok(render(&Page {
        frame: visitor.frame(Section::Retunes, "Retunes").every(5),
        submits: visitor.may(Role::Submit),
        once: Uuid::new_v4().to_string(),
        models: models.into_iter().map(|model| model.name).collect(),
        next: found.last().filter(|_| more).map(|last| last.id),
        rows: found.iter().map(|one| Row::of(one, now)).collect(),
    })?)
}

impl Row {
    pub fn of(retune: &Retune, now: OffsetDateTime) -> Self {
        let counts = retune.counts;
        let done = counts.succeeded + counts.failed + counts.cancelled;
        let label = format!("{done}/{}", counts.total());
        Self {
            id: retune.id,
            status: retune.status.name(),
            status_name: format::label(&retune.status),
            base: target(retune),
            reason: format::label(&retune.reason),
            bar: format::Bar {
                done,
                total: counts.total().max(1),
                label,
            },
            counts: told(&counts),
            created_at: format::instant(retune.created_at),
            age: format::age(retune.created_at, now),
        }
    }
}

/// What it carries onto, in words.
pub fn target(retune: &Retune) -> String {
    match (&retune.base_model, &retune.base_version) {
        (Some(model), Some(version)) => format!("{model} {version}"),
        _ => "locations".into(),
    }
}

/// `3 succeeded, 1 failed`: what there is.
pub fn told(counts: &Counts) -> String {
    let named = [
        (counts.succeeded, "succeeded"),
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
        (counts.running + counts.cancelling, "running"),
        (counts.queued, "queued"),
    ];

    let told = named.into_iter().filter(|(count, _)| *count > 0);
    told.map(|(count, name)| format!("{count} {name}"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_in_words() {
        let counts = Counts {
            succeeded: 3,
            cancelling: 1,
            running: 1,
            ..Counts::default()
        };
        assert_eq!(told(&counts), "3 succeeded, 2 running");
        assert_eq!(told(&Counts::default()), "");
    }
}
