//! The way through the phases, with the time of each.

use std::cmp::Ordering;

use crate::{
    pipeline::Phase,
    service::{
        dashboard::format,
        database::transfers::progress::PhaseTime,
        domain::transfers::{Status, Transfer},
    },
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

pub struct Stage {
    pub name: String,
    /// `done`, `now`, `ahead`, or `left`: the last one of what did not succeed.
    pub state: &'static str,
    /// Within the last attempt; empty for what did not begin.
    pub time: String,
}

/// The stages of what has begun. A phase that was passed over is left out once the way is gone.
pub fn stages(transfer: &Transfer, times: &[PhaseTime]) -> Vec<Stage> {
    let Some(position) = position(transfer, times) else {
        return Vec::new();
    };
    let is_final = transfer.status.is_final();
    let stages = PHASES.iter().enumerate().map(|(i, phase)| {
        let name = format::snake_label(phase);
        let seconds = times
            .iter()
            .find(|time| time.phase == name)
            .map(|time| time.seconds);
        let state = match (i.cmp(&position), transfer.status) {
            (Ordering::Less, _) | (Ordering::Equal, Status::Succeeded) => "done",
            (Ordering::Equal, Status::Failed | Status::Cancelled) => "left",
            (Ordering::Equal, _) => "now",
            (Ordering::Greater, _) => "ahead",
        };
        let time = seconds.map(format::seconds).unwrap_or_default();
        Stage {
            name: format::words(&name),
            state,
            time,
        }
    });

    stages
        .filter(|stage| !is_final || !stage.time.is_empty() || stage.state == "left")
        .collect()
}

/// Where it is on the way, or was when it ended.
fn position(transfer: &Transfer, times: &[PhaseTime]) -> Option<usize> {
    let now = transfer
        .phase
        .and_then(|phase| PHASES.iter().position(|one| *one == phase));
    now.or_else(|| {
        // What has ended has no phase any more; its events still say which it had.
        let was_in = PHASES.iter().map(format::snake_label).collect::<Vec<_>>();
        let last = was_in
            .iter()
            .rposition(|name| times.iter().any(|time| time.phase == *name));
        last.filter(|_| transfer.status.is_final())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(status: &str) -> Vec<String> {
        told_in(status, Some("transferring"))
    }

    fn told_in(status: &str, phase: Option<&str>) -> Vec<String> {
        let transfer: Transfer = serde_json::from_value(json!({
            "id": "0190f000-0000-7000-8000-000000000000", "status": status, "phase": phase,
            "progress": null, "attempt": 1, "created_at": "2026-01-01T00:00:00Z", "started_at": null,
            "finished_at": null, "result": null, "verdict": null, "recommendation": null, "metrics": null,
            "metadata": {}, "error": null, "spec": {}
        }))
        .unwrap();
        let times = [PhaseTime {
            phase: "fetching".into(),
            seconds: 2.0,
        }];
        let stages = stages(&transfer, &times);
        stages
            .iter()
            .map(|stage| format!("{} {} {}", stage.name, stage.state, stage.time))
            .collect()
    }

    #[test]
    fn a_way_that_is_gone_shows_what_was_passed_through() {
        assert_eq!(told_in("succeeded", None), ["fetching done 2.0 s"]);
        assert!(told_in("queued", None).is_empty());
        assert_eq!(
            told("failed"),
            ["fetching done 2.0 s", "transferring left "]
        );
        let running = told("running");
        assert_eq!(
            (running.len(), running[0].as_str(), running[3].as_str()),
            (7, "fetching done 2.0 s", "transferring now ")
        );
        assert_eq!(running[6], "publishing ahead ");
    }
}
