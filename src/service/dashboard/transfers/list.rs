//! `/transfers`: the transfers, newest first, by status and by what one looks for.

mod wish;

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Html,
};
use time::OffsetDateTime;

use super::title;
use crate::{
    contract::ids::TransferId,
    service::{
        dashboard::{
            error::PageError,
            format,
            frame::{Frame, Section},
            render,
            visit::Visitor,
        },
        database::transfers::{self, ListFilter},
        domain::{
            access::Role,
            transfers::{Status, Transfer},
        },
        state::AppState,
    },
};
use wish::{Asked, Wish};

/// Rows a page.
const ROWS: usize = 30;

#[derive(askama::Template)]
#[template(
    path = "transfers/list.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    submits: bool,
    tabs: Vec<Tab>,
    wish: Wish,
    /// Not the first page.
    later: bool,
    first: String,
    next: Option<String>,
    rows: Vec<Row>,
}

struct Tab {
    name: &'static str,
    href: String,
    current: bool,
}

/// A transfer in a table.
pub struct Row {
    pub id: TransferId,
    pub short_id: String,
    pub title: String,
    /// Where everything lies.
    pub about: String,
    pub labels: Vec<String>,
    pub status: &'static str,
    pub methods: String,
    pub progress: Option<format::Bar>,
    pub left: Option<String>,
    pub stage: Option<String>,
    pub took: Option<String>,
    pub verdict: Option<String>,
    pub figure: Option<String>,
    pub created_at: String,
    pub age: String,
}

pub async fn handle(
    State(state): State<AppState>,
    visitor: Visitor,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let asked = asked.map(|Query(asked)| asked).unwrap_or_default();
    let after = asked.after.as_deref().and_then(|after| after.parse().ok());
    let (wish, filter) = asked.read();
    let limit = i64::try_from(ROWS + 1).unwrap_or(i64::MAX);
    let filter = ListFilter {
        limit,
        after,
        ..filter
    };

    let mut found = transfers::list(&state.database, visitor.principal.tenant, &filter).await?;
    let more = found.len() > ROWS;
    found.truncate(ROWS);
    let next = found
        .last()
        .filter(|_| more)
        .map(|last| wish.address(wish.status, Some(last.id)));
    let now = OffsetDateTime::now_utc();

    Ok(render(&Page {
        frame: visitor.frame(Section::Transfers, "Transfers").every(3),
        submits: visitor.may(Role::Submit),
        tabs: tabs(&wish),
        later: after.is_some(),
        first: wish.address(wish.status, None),
        next,
        rows: found
            .iter()
            .map(|transfer| Row::of(transfer, now))
            .collect(),
        wish,
    })?)
}

fn tabs(wish: &Wish) -> Vec<Tab> {
    let all = Tab {
        name: "all",
        href: wish.address(None, None),
        current: wish.status.is_none(),
    };
    // A moment's status is worth no tab of its own.
    let lasting = Status::ALL
        .into_iter()
        .filter(|status| *status != Status::Cancelling);
    let lasting = lasting.map(|status| Tab {
        name: status.name(),
        href: wish.address(Some(status.name()), None),
        current: wish.status == Some(status.name()),
    });

    std::iter::once(all).chain(lasting).collect()
}

impl Row {
    pub fn of(transfer: &Transfer, now: OffsetDateTime) -> Self {
        let end = transfer.finished_at.filter(|_| transfer.status.is_final());
        let took = transfer.started_at.zip(end);
        Self {
            id: transfer.id,
            short_id: format::short_id(transfer.id),
            title: title::of(transfer),
            about: about(transfer),
            labels: title::labels(&transfer.metadata),
            status: transfer.status.name(),
            methods: format::methods(&transfer.spec),
            stage: transfer
                .phase
                .filter(|_| !transfer.status.is_final())
                .as_ref()
                .map(format::label),
            progress: format::Bar::of(transfer),
            left: format::left(transfer, now),
            took: took.map(|(start, end)| format::seconds((end - start).as_seconds_f64())),
            verdict: transfer.verdict.as_ref().map(format::label),
            figure: figure(transfer),
            created_at: format::instant(transfer.created_at),
            age: format::age(transfer.created_at, now),
        }
    }
}

fn about(transfer: &Transfer) -> String {
    let pointers = ["/source/trajectory", "/source/base", "/target/base"];
    let [tuning, from, onto] = pointers.map(|pointer| format::text(&transfer.spec, pointer));
    format!("{tuning} from {from} onto {onto}")
}

/// The accuracy, or without labels the agreement.
pub fn figure(transfer: &Transfer) -> Option<String> {
    format::outcome(transfer.metrics.as_ref()?)
}
