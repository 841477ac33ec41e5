//! `/`: the transfers, newest first, by status.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::Html,
};
use serde::Deserialize;
use time::OffsetDateTime;

use super::{Frame, PageError, format, render, session};
use crate::{
    contract::ids::TransferId,
    service::{
        database::transfers::{self, ListFilter},
        domain::transfers::{Status, Transfer},
        state::AppState,
    },
};

/// Rows a page.
const ROWS: usize = 30;

const STATUSES: [Status; 6] = [
    Status::Queued,
    Status::Running,
    Status::Cancelling,
    Status::Succeeded,
    Status::Failed,
    Status::Cancelled,
];

/// What does not parse is left out: an old link still shows a page.
#[derive(Default, Deserialize)]
pub struct Choice {
    status: Option<String>,
    after: Option<String>,
}

#[derive(askama::Template)]
#[template(path = "list.html", config = "src/service/dashboard/askama.toml")]
struct Page {
    frame: Frame,
    filters: Vec<Filter>,
    unfiltered: bool,
    /// Not the first page.
    later: bool,
    first: String,
    next: Option<String>,
    rows: Vec<Row>,
}

struct Filter {
    name: &'static str,
    href: String,
    current: bool,
}

struct Row {
    id: TransferId,
    short_id: String,
    status: &'static str,
    source: String,
    source_name: String,
    target: String,
    target_name: String,
    methods: String,
    progress: Option<format::Bar>,
    stage: Option<String>,
    verdict: Option<String>,
    figure: Option<String>,
    created_at: String,
    age: String,
}

pub async fn handle(
    State(state): State<AppState>,
    headers: HeaderMap,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let caller = session::principal(&state, &headers).await?;
    let choice = choice.map(|Query(choice)| choice).unwrap_or_default();
    let status = STATUSES.into_iter().find(|one| choice.status.as_deref() == Some(one.name()));
    let after = choice.after.and_then(|after| after.parse().ok());
    let filter = ListFilter {
        status,
        after,
        limit: i64::try_from(ROWS + 1).unwrap_or(i64::MAX),
        ..ListFilter::default()
    };

    let mut found = transfers::list(&state.database, caller.tenant, &filter).await?;
    let more = found.len() > ROWS;
    found.truncate(ROWS);
    let next = found.last().filter(|_| more).map(|last| address(status, Some(last.id)));
    let now = OffsetDateTime::now_utc();

    Ok(render(&Page {
        frame: Frame {
            refresh: 3,
            session: caller.key_id.is_some(),
            ..Frame::still("Transfers · retune")
        },
        filters: filters(status),
        unfiltered: status.is_none(),
        later: after.is_some(),
        first: address(status, None),
        next,
        rows: found.iter().map(|transfer| row(transfer, now)).collect(),
    })?)
}

fn filters(chosen: Option<Status>) -> Vec<Filter> {
    let all = Filter { name: "all", href: address(None, None), current: chosen.is_none() };
    // A moment's status is worth no choice of its own.
    let lasting = STATUSES.into_iter().filter(|status| *status != Status::Cancelling);
    let lasting = lasting.map(|status| Filter {
        name: status.name(),
        href: address(Some(status), None),
        current: chosen == Some(status),
    });

    std::iter::once(all).chain(lasting).collect()
}

fn address(status: Option<Status>, after: Option<TransferId>) -> String {
    let status = status.map(|status| format!("status={}", status.name()));
    let after = after.map(|after| format!("after={after}"));
    let query: Vec<_> = [status, after].into_iter().flatten().collect();
    if query.is_empty() { "/".into() } else { format!("/?{}", query.join("&")) }
}

fn row(transfer: &Transfer, now: OffsetDateTime) -> Row {
    let source = format::text(&transfer.spec, "/source/trajectory");
    let target = format::text(&transfer.spec, "/target/base");
    let id = transfer.id.0.simple().to_string();
    let progress = format::Bar::of(transfer);
    let metrics = transfer.metrics.as_ref();
    let accuracy = metrics.and_then(|metrics| metrics["accuracy"].as_f64());
    let agreement = metrics.and_then(|metrics| metrics["agreement"].as_f64());
    let figure = match (accuracy, agreement) {
        (None, Some(agreement)) => Some(format!("{} agree", format::percent(Some(agreement)))),
        (accuracy, _) => accuracy.map(|accuracy| format::percent(Some(accuracy))),
    };
    Row {
        id: transfer.id,
        // The end is random; the beginning is the time.
        short_id: id[id.len() - 8..].to_owned(),
        status: transfer.status.name(),
        source_name: format::last_part(&source),
        target_name: format::last_part(&target),
        source,
        target,
        methods: format::methods(&transfer.spec),
        stage: transfer.phase.filter(|_| !transfer.status.is_final()).as_ref().map(format::label),
        progress,
        verdict: transfer.verdict.as_ref().map(format::label),
        figure,
        created_at: format::instant(transfer.created_at),
        age: format::age(transfer.created_at, now),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn addresses_keep_the_filter() {
        assert_eq!(address(None, None), "/");
        assert_eq!(
            address(Some(Status::Failed), Some(TransferId(Uuid::nil()))),
            "/?status=failed&after=00000000-0000-0000-0000-000000000000"
        );
        assert_eq!(filters(Some(Status::Queued)).iter().filter(|one| one.current).count(), 1);
    }
}
