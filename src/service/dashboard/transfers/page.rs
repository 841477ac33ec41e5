//! `/transfers/{id}`: one transfer, from its state to its cost.

mod stages;

use axum::{
    extract::{Path, State},
    response::Html,
};
use time::OffsetDateTime;

use super::{events::Line, report::Report, snippets::Snippets, title};
use crate::{
    contract::ids::{RetuneId, TransferId},
    service::{
        dashboard::{
            action::Action,
            error::PageError,
            format,
            frame::{Frame, Section},
            render,
            visit::Visitor,
        },
        database::{
            events,
            transfers::{
                self,
                progress::{self, PhaseTime},
            },
        },
        domain::{
            access::Role,
            transfers::{JobError, Status, Transfer},
        },
        results::{self, ResultError},
        state::AppState,
    },
    storage::Storage,
};
use stages::{Stage, stages};

/// Events shown; the API has them all.
const EVENTS: i64 = 60;

#[derive(askama::Template)]
#[template(
    path = "transfers/page.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    id: TransferId,
    title: String,
    labels: Vec<String>,
    actions: Vec<Action>,
    submits: bool,
    source: String,
    source_base: String,
    target: String,
    fine_tune: Option<String>,
    retune: Option<RetuneId>,
    status: &'static str,
    finished: bool,
    verdict: Option<String>,
    advice: Option<String>,
    methods: String,
    attempt: i32,
    created_at: String,
    age: String,
    duration: Option<String>,
    left: Option<String>,
    /// Where it stands among what waits.
    place: Option<String>,
    stages: Vec<Stage>,
    progress: Option<format::Bar>,
    error: Option<JobError>,
    report: Option<Report>,
    files: Vec<File>,
    result_uri: String,
    notice: Option<String>,
    lines: Vec<Line>,
    spec: String,
    snippets: Snippets,
}

struct File {
    name: String,
    size: String,
    sha256: String,
    short_sha256: String,
}

pub async fn handle(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Html<String>, PageError> {
    let tenant = visitor.principal.tenant;
    let id = id.parse().map_err(|_| PageError::NotFound)?;
    let transfer = transfers::get(&state.database, tenant, id).await?;
    let transfer = transfer.ok_or(PageError::NotFound)?;

    let times = progress::phases(&state.database, tenant, id).await?;
    let mut page = page(&visitor, &transfer, &times, OffsetDateTime::now_utc());
    let lines = events::latest(&state.database, tenant, id, EVENTS).await?;
    page.lines = lines.into_iter().map(Line::from).collect();
    if transfer.status == Status::Queued {
        page.place = Some(place(progress::ahead(&state.database, tenant, id).await?));
    }
    if transfer.result.is_some() {
        // Storage that does not answer takes its part of the page with it, not the page.
        match result(&state.storage(tenant), &transfer).await {
            Ok((report, files)) => (page.report, page.files) = (report, files),
            Err(error) => page.notice = Some(format!("The result cannot be read: {error}.")),
        }
    }

    Ok(render(&page)?)
}

/// Other tenants have turns in between, so it is a place and no promise.
fn place(ahead: i64) -> String {
    match ahead {
        0 => "next of yours".into(),
        1 => "after one other of yours".into(),
        ahead => format!("after {ahead} others of yours"),
    }
}

async fn result(
    storage: &Storage,
    transfer: &Transfer,
) -> Result<(Option<Report>, Vec<File>), ResultError> {
    let files = results::files(storage, transfer).await?;
    let report = results::report(storage, transfer).await?;

    Ok((
        Report::read(&report),
        files.into_iter().map(File::from).collect(),
    ))
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

fn page(visitor: &Visitor, transfer: &Transfer, times: &[PhaseTime], now: OffsetDateTime) -> Page {
    let is_final = transfer.status.is_final();
    let title = title::of(transfer);
    let head = format!("{} · {}", transfer.status.name(), title);
    let result = transfer.result.as_ref();
    let spec = &transfer.spec;
    Page {
        frame: visitor
            .frame(Section::Transfers, &head)
            .every(if is_final { 15 } else { 2 }),
        id: transfer.id,
        labels: title::labels(&transfer.metadata),
        actions: actions(visitor, transfer),
        submits: visitor.may(Role::Submit),
        source: format::text(spec, "/source/trajectory"),
        source_base: format::text(spec, "/source/base"),
        target: format::text(spec, "/target/base"),
        fine_tune: transfer.fine_tune.clone(),
        retune: transfer.retune,
        status: transfer.status.name(),
        finished: is_final,
        verdict: transfer.verdict.as_ref().map(format::label),
        advice: transfer.recommendation.as_ref().map(format::label),
        methods: format::methods(&transfer.spec),
        attempt: transfer.attempt,
        created_at: format::instant(transfer.created_at),
        age: format::age(transfer.created_at, now),
        duration: duration(transfer, now),
        left: format::left(transfer, now),
        place: None,
        stages: stages(transfer, times),
        progress: format::Bar::of(transfer),
        error: transfer
            .error
            .clone()
            .filter(|_| transfer.status == Status::Failed),
        report: None,
        files: Vec::new(),
        result_uri: result.map(|result| result.uri.clone()).unwrap_or_default(),
        notice: None,
        lines: Vec::new(),
        spec: serde_json::to_string_pretty(&transfer.spec).unwrap_or_default(),
        snippets: Snippets::of(&transfer.spec),
        title,
    }
}

fn actions(visitor: &Visitor, transfer: &Transfer) -> Vec<Action> {
    if !visitor.may(Role::Submit) {
        return Vec::new();
    }
    let id = transfer.id;
    let action = match transfer.status {
        Status::Queued => Some(
            Action::new(visitor, "Cancel", format!("/transfers/{id}/cancel"))
                .asking("It leaves the queue. It can be retried."),
        ),
        Status::Running => Some(
            Action::new(visitor, "Cancel", format!("/transfers/{id}/cancel"))
                .asking("It stops before its next step. A retry goes on from what was kept."),
        ),
        Status::AwaitingEvaluation => Some(
            Action::new(visitor, "Cancel", format!("/transfers/{id}/cancel"))
                .asking("It waits for another program's evaluation. What is staged goes."),
        ),
        Status::Failed | Status::Cancelled => {
            Some(Action::new(visitor, "Retry", format!("/transfers/{id}/retry")).primary())
        }
        Status::Cancelling | Status::Succeeded => None,
    };

    action.into_iter().collect()
}

fn duration(transfer: &Transfer, now: OffsetDateTime) -> Option<String> {
    let started = transfer.started_at?;
    let end = transfer.finished_at.unwrap_or(now);
    Some(format::seconds((end - started).as_seconds_f64()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::service::domain::access::Principal;

    fn transfer(status: &str) -> Transfer {
        serde_json::from_value(json!({
            "id": "0190f000-0000-7000-8000-000000000000", "status": status, "phase": "aligning",
            "progress": {"done": 3, "total": 10, "unit": "timesteps",
                         "estimated_finish": "2026-01-01T00:05:11Z"},
            "attempt": 1, "created_at": "2026-01-01T00:00:00Z", "started_at": "2026-01-01T00:00:01Z",
            "finished_at": null, "result": null, "verdict": null, "recommendation": null,
            "metrics": null, "metadata": {},
            "error": {"code": "x", "detail": "<script>alert(1)</script>"},
            "spec": {"source": {"trajectory": "file:///a/<b>/"}, "target": {"base": "file:///new/"}}
        }))
        .unwrap()
    }

    fn shown(role: Role, status: &str) -> String {
        let principal = Principal {
            role,
            ..Principal::OPEN
        };
        let visitor = Visitor {
            principal,
            token: "t0".into(),
        };
        let now = time::macros::datetime!(2026-01-01 00:00:11 UTC);
        render(&page(&visitor, &transfer(status), &[], now))
            .unwrap()
            .0
    }

    #[test]
    fn a_running_transfer_shows_its_phase_and_bar() {
        let html = shown(Role::Read, "running");
        assert!(html.contains("aligning 3/10 timesteps"));
        assert!(html.contains("<progress value=\"3\" max=\"10\">"));
        assert!(html.contains("Running for</dt><dd>10.0 s"));
        assert!(html.contains("done in 5 min"));
        assert!(html.contains("class=\"now\" aria-current=\"step\">aligning"));
    }

    #[test]
    fn what_users_wrote_is_escaped() {
        let html = shown(Role::Admin, "failed");
        assert!(!html.contains("<script>alert") && !html.contains("<b>"));
        assert!(html.contains("alert(1)"));
        assert!(!html.contains("<progress"));
    }

    #[test]
    fn a_reader_sees_no_button() {
        assert!(!shown(Role::Read, "running").contains("/cancel"));
        assert!(shown(Role::Submit, "running").contains("/cancel"));
        assert!(shown(Role::Submit, "failed").contains("/retry"));
        assert!(!shown(Role::Submit, "failed").contains("/cancel"));
    }

    #[test]
    fn a_place_among_ones_own_is_told() {
        assert_eq!(place(0), "next of yours");
        assert_eq!(place(7), "after 7 others of yours");
    }
}
