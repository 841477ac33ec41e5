//! `/workers`: the processes that compute.

use axum::{extract::State, response::Html};
use time::OffsetDateTime;

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
        database::workers::{self, Worker},
        state::AppState,
    },
};

#[derive(askama::Template)]
#[template(
    path = "operations/workers.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
}

struct Row {
    host: String,
    pid: i32,
    version: String,
    device: String,
    transfer: Option<TransferId>,
    short_id: String,
    started: String,
    seen: String,
}

pub async fn handle(
    State(state): State<AppState>,
    visitor: Visitor,
) -> Result<Html<String>, PageError> {
    let found = workers::list_for(&state.database, visitor.principal.tenant).await?;
    let now = OffsetDateTime::now_utc();

    Ok(render(&Page {
        frame: visitor.frame(Section::Workers, "Workers").every(5),
        rows: found
            .into_iter()
            .map(|worker| Row::of(worker, now))
            .collect(),
    })?)
}

impl Row {
    fn of(worker: Worker, now: OffsetDateTime) -> Self {
        Self {
            short_id: worker.transfer.map(format::short_id).unwrap_or_default(),
            host: worker.host,
            pid: worker.pid,
            version: worker.version,
            device: worker.device,
            transfer: worker.transfer,
            started: format::age(worker.started_at, now),
            seen: format::age(worker.last_seen_at, now),
        }
    }
}
