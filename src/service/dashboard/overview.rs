//! `/`: is it well, and if not, what is to be done.

use axum::{extract::State, response::Html};
use time::OffsetDateTime;

use super::{
    error::PageError,
    format,
    frame::{Frame, Section},
    render,
    transfers::Row,
    visit::Visitor,
};
use crate::service::{
    database::{
        overview::{self, Overview},
        transfers::{self, ListFilter},
    },
    domain::{access::Role, transfers::Status},
    state::AppState,
};

/// Rows of each table.
const ROWS: i64 = 8;

/// A transfer may wait for this long before somebody is told.
const LONG_WAIT_SECONDS: f64 = 900.0;

#[derive(askama::Template)]
#[template(path = "overview.html", config = "src/service/dashboard/askama.toml")]
struct Page {
    frame: Frame,
    submits: bool,
    concerns: Vec<Concern>,
    /// What is said where there is nothing to be done.
    calm: String,
    tiles: Vec<Tile>,
    running: Vec<Row>,
    recent: Vec<Row>,
}

/// Something that will not mend itself.
#[derive(Debug, PartialEq, Eq)]
struct Concern {
    text: String,
    href: &'static str,
}

struct Tile {
    figure: String,
    name: &'static str,
    href: &'static str,
}

pub async fn handle(
    State(state): State<AppState>,
    visitor: Visitor,
) -> Result<Html<String>, PageError> {
    let tenant = visitor.principal.tenant;
    let overview = overview::look(&state.database, tenant).await?;
    let running = last(&[Status::Running, Status::Cancelling]);
    let running = transfers::list(&state.database, tenant, &running).await?;
    let recent = last(&[Status::Succeeded, Status::Failed]);
    let recent = transfers::list(&state.database, tenant, &recent).await?;
    let now = OffsetDateTime::now_utc();

    Ok(render(&Page {
        frame: visitor.frame(Section::Overview, "Overview").every(5),
        submits: visitor.may(Role::Submit),
        concerns: concerns(&overview, visitor.may(Role::Admin)),
        calm: calm(&overview),
        tiles: tiles(&overview),
        running: running.iter().map(|one| Row::of(one, now)).collect(),
        recent: recent.iter().map(|one| Row::of(one, now)).collect(),
    })?)
}

/// The last transfers of these statuses.
fn last(statuses: &[Status]) -> ListFilter {
    ListFilter {
        statuses: statuses.to_vec(),
        limit: ROWS,
        ..ListFilter::default()
    }
}

fn counted(count: i64, one: &str, many: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {many}")
    }
}

/// What somebody must look at; what only administrators can is told to them alone.
fn concerns(overview: &Overview, administers: bool) -> Vec<Concern> {
    let mut concerns = concerns_of_transfers(overview);
    concerns.extend(concerns_of_models(overview));
    if administers && overview.failing_endpoints > 0 {
        let failing = counted(
            overview.failing_endpoints,
            "webhook endpoint fails",
            "webhook endpoints fail",
        );
        concerns.push(Concern::new(format!("{failing}."), "/webhooks"));
    }
    concerns
}

fn concerns_of_transfers(overview: &Overview) -> Vec<Concern> {
    let mut concerns = Vec::new();
    if overview.workers == 0 && overview.queued > 0 {
        let text = "Transfers wait and there is no worker.";
        concerns.push(Concern::new(text, "/workers"));
    }
    if overview.workers > 0 && overview.oldest_queued_seconds > LONG_WAIT_SECONDS {
        let waits = format::seconds(overview.oldest_queued_seconds);
        let text = format!("The oldest transfer has been waiting for {waits}.");
        concerns.push(Concern::new(text, "/transfers?status=queued"));
    }
    if overview.failed_today > 0 {
        let failed = counted(overview.failed_today, "transfer failed", "transfers failed");
        let text = format!("{failed} within a day.");
        concerns.push(Concern::new(text, "/transfers?status=failed"));
    }
    concerns
}

fn concerns_of_models(overview: &Overview) -> Vec<Concern> {
    let mut concerns = Vec::new();
    if overview.proposed > 0 {
        let waiting = counted(overview.proposed, "version waits", "versions wait");
        let text = format!("{waiting} for somebody to promote it.");
        concerns.push(Concern::new(text, "/fine-tunes?show=proposed"));
    }
    if overview.stale > 0 {
        let behind = counted(overview.stale, "fine-tune stands", "fine-tunes stand");
        let text = format!("{behind} on a base that was replaced.");
        concerns.push(Concern::new(text, "/fine-tunes?show=stale"));
    }
    if overview.retiring > 0 {
        let retiring = counted(
            overview.retiring,
            "base in production retires",
            "bases in production retire",
        );
        let text = format!("{retiring} within 30 days.");
        concerns.push(Concern::new(text, "/base-models"));
    }
    if overview.failed_arrivals > 0 {
        let lost = counted(
            overview.failed_arrivals,
            "announced version",
            "announced versions",
        );
        let text = format!("{lost} could not be registered.");
        concerns.push(Concern::new(text, "/base-models"));
    }
    concerns
}

impl Concern {
    fn new(text: impl Into<String>, href: &'static str) -> Self {
        Self {
            text: text.into(),
            href,
        }
    }
}

impl Tile {
    fn new(count: i64, name: &'static str, href: &'static str) -> Self {
        Self {
            figure: count.to_string(),
            name,
            href,
        }
    }
}

fn calm(overview: &Overview) -> String {
    match (overview.running, overview.queued) {
        (0, 0) => "Nothing runs and nothing waits.".into(),
        (running, 0) => format!("{running} running, nothing waits."),
        (running, queued) => format!(
            "{running} running, {queued} waiting, the oldest for {}.",
            format::seconds(overview.oldest_queued_seconds)
        ),
    }
}

fn tiles(overview: &Overview) -> Vec<Tile> {
    vec![
        Tile::new(overview.running, "running", "/transfers?status=running"),
        Tile::new(
            overview.queued + overview.held,
            "queued",
            "/transfers?status=queued",
        ),
        Tile::new(
            overview.published_today,
            "published within a day",
            "/transfers?verdict=published",
        ),
        Tile::new(
            overview.rejected_today,
            "rejected within a day",
            "/transfers?verdict=rejected",
        ),
        Tile::new(
            overview.failed_today,
            "failed within a day",
            "/transfers?status=failed",
        ),
        Tile::new(overview.workers, "workers", "/workers"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(overview: &Overview, administers: bool) -> Vec<String> {
        concerns(overview, administers)
            .into_iter()
            .map(|concern| concern.text)
            .collect()
    }

    #[test]
    fn what_needs_somebody_is_told_to_who_can_do_it() {
        let well = Overview {
            workers: 2,
            queued: 3,
            oldest_queued_seconds: 20.0,
            ..Overview::default()
        };
        assert!(told(&well, true).is_empty());
        assert_eq!(calm(&well), "0 running, 3 waiting, the oldest for 20.0 s.");
        let ill = Overview {
            workers: 0,
            failed_today: 1,
            failing_endpoints: 2,
            ..well
        };
        assert_eq!(
            told(&ill, true),
            [
                "Transfers wait and there is no worker.",
                "1 transfer failed within a day.",
                "2 webhook endpoints fail."
            ]
        );
        assert_eq!(told(&ill, false).len(), 2);
        let late = Overview {
            workers: 1,
            oldest_queued_seconds: 1000.0,
            stale: 2,
            ..Overview::default()
        };
        assert_eq!(
            told(&late, false)[0],
            "The oldest transfer has been waiting for 16 min 40 s."
        );
        assert_eq!(
            told(&late, false)[1],
            "2 fine-tunes stand on a base that was replaced."
        );
    }
}
