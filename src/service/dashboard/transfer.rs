//! `/transfers/{id}`: one transfer, from its state to its cost.

use std::cmp::Ordering;

use axum::{
    extract::{Path, State},
    http::HeaderMap,
    response::Html,
};
use time::OffsetDateTime;

use super::{Frame, PageError, format, render, report::Report, session};
use crate::{
    contract::ids::TransferId,
    pipeline::Phase,
    service::{
        database::transfers,
        domain::transfers::{JobError, Status, Transfer},
        results::{self, ResultError},
        state::AppState,
    },
    storage::Storage,
};

const PHASES: [Phase; 7] = [
    Phase::Fetching,
    Phase::Diagnosing,
    Phase::Aligning,
    Phase::Transferring,
    Phase::Evaluating,
    Phase::FineTuning,
    Phase::Publishing,
];

#[derive(askama::Template)]
#[template(path = "transfer.html", config = "src/service/dashboard/askama.toml")]
struct Page {
    frame: Frame,
    id: TransferId,
    source: String,
    source_name: String,
    target: String,
    target_name: String,
    status: &'static str,
    finished: bool,
    verdict: Option<String>,
    advice: Option<String>,
    methods: String,
    attempt: i32,
    created_at: String,
    age: String,
    duration: Option<String>,
    phases: Option<Vec<Stage>>,
    progress: Option<format::Bar>,
    error: Option<JobError>,
    report: Option<Report>,
    files: Vec<File>,
    result_uri: String,
    notice: Option<String>,
    spec: String,
}

struct Stage {
    name: String,
    /// `done`, `now` or `ahead`.
    state: &'static str,
}

struct File {
    name: String,
    size: String,
    sha256: String,
    short_sha256: String,
}

pub async fn handle(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Html<String>, PageError> {
    let caller = session::principal(&state, &headers).await?;
    let id = id.parse().map_err(|_| PageError::NotFound)?;
    let transfer = transfers::get(&state.database, caller.tenant, id).await?;
    let transfer = transfer.ok_or(PageError::NotFound)?;
    let mut page = page(&transfer, OffsetDateTime::now_utc());
    page.frame.session = caller.key_id.is_some();
    if transfer.result.is_some() {
        // Storage that does not answer takes its part of the page with it, not the page.
        match result(&state.storage(caller.tenant), &transfer).await {
            Ok((report, files)) => (page.report, page.files) = (report, files),
            Err(error) => page.notice = Some(format!("The result cannot be read: {error}.")),
        }
    }

    Ok(render(&page)?)
}

async fn result(
    storage: &Storage,
    transfer: &Transfer,
) -> Result<(Option<Report>, Vec<File>), ResultError> {
    let files = results::files(storage, transfer).await?;
    let report = results::report(storage, transfer).await?;

    Ok((Report::read(&report), files.into_iter().map(File::from).collect()))
}

impl From<results::ResultFile> for File {
    fn from(file: results::ResultFile) -> Self {
        Self {
            size: format::bytes(file.size),
            short_sha256: file.sha256.chars().take(12).collect(),
            name: file.name,
            sha256: file.sha256,
        }
    }
}

fn page(transfer: &Transfer, now: OffsetDateTime) -> Page {
    let source = format::text(&transfer.spec, "/source/trajectory");
    let target = format::text(&transfer.spec, "/target/base");
    let (source_name, target_name) = (format::last_part(&source), format::last_part(&target));
    let is_final = transfer.status.is_final();
    let title = format!("{} · {source_name} → {target_name} · retune", transfer.status.name());
    let result = transfer.result.as_ref();
    Page {
        frame: Frame { refresh: if is_final { 15 } else { 2 }, ..Frame::still(&title) },
        id: transfer.id,
        source,
        source_name,
        target,
        target_name,
        status: transfer.status.name(),
        finished: is_final,
        verdict: transfer.verdict.as_ref().map(format::label),
        advice: transfer.recommendation.as_ref().map(format::label),
        methods: format::methods(&transfer.spec),
        attempt: transfer.attempt,
        created_at: format::instant(transfer.created_at),
        age: format::age(transfer.created_at, now),
        duration: duration(transfer, now),
        phases: phases(transfer),
        progress: format::Bar::of(transfer),
        error: transfer.error.clone().filter(|_| transfer.status == Status::Failed),
        report: None,
        files: Vec::new(),
        result_uri: result.map(|result| result.uri.clone()).unwrap_or_default(),
        notice: None,
        spec: serde_json::to_string_pretty(&transfer.spec).unwrap_or_default(),
    }
}

fn duration(transfer: &Transfer, now: OffsetDateTime) -> Option<String> {
    let started = transfer.started_at?;
    let end = transfer.finished_at.unwrap_or(now);
    Some(format::seconds((end - started).as_seconds_f64()))
}

/// The way through the phases, while it is being gone.
fn phases(transfer: &Transfer) -> Option<Vec<Stage>> {
    let current = transfer.phase.filter(|_| !transfer.status.is_final())?;
    let position = PHASES.iter().position(|phase| *phase == current)?;
    let stages = PHASES.iter().enumerate().map(|(i, phase)| Stage {
        name: format::label(phase),
        state: match i.cmp(&position) {
            Ordering::Less => "done",
            Ordering::Equal => "now",
            Ordering::Greater => "ahead",
        },
    });

    Some(stages.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn transfer(status: &str) -> Transfer {
        serde_json::from_value(json!({
            "id": "0190f000-0000-7000-8000-000000000000", "status": status, "phase": "aligning",
            "progress": {"done": 3, "total": 10, "unit": "timesteps", "estimated_finish": null},
            "attempt": 1, "created_at": "2026-01-01T00:00:00Z", "started_at": "2026-01-01T00:00:01Z",
            "finished_at": null, "result": null, "verdict": null, "recommendation": null,
            "metrics": null, "metadata": {},
            "error": {"code": "x", "detail": "<script>alert(1)</script>"},
            "spec": {"source": {"trajectory": "file:///a/<b>/"}, "target": {"base": "file:///new/"}}
        }))
        .unwrap()
    }

    #[test]
    fn a_running_transfer_shows_its_phase_and_bar() {
        let now = time::macros::datetime!(2026-01-01 00:00:11 UTC);
        let html = render(&page(&transfer("running"), now)).unwrap().0;
        assert!(html.contains("aligning 3/10 timesteps"));
        assert!(html.contains("<progress value=\"3\" max=\"10\">"));
        assert!(html.contains("Running for</dt><dd>10.0 s"));
        assert!(html.contains("class=\"now\" aria-current=\"step\">aligning"));
    }

    #[test]
    fn what_users_wrote_is_escaped() {
        let now = OffsetDateTime::now_utc();
        let html = render(&page(&transfer("failed"), now)).unwrap().0;
        assert!(!html.contains("<script>alert") && !html.contains("<b>"));
        assert!(html.contains("alert(1)"));
        assert!(!html.contains("<progress"));
    }
}
