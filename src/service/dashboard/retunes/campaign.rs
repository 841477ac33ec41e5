//! `/retunes/{id}/campaign`: what was carried, what fell short, what it cost, what is to be decided.

use axum::{
    extract::{Path, State},
    response::Html,
};

use super::{list, page::Decision};
use crate::{
    contract::{
        ids::{RetuneId, TransferId},
        outcome::Verdict,
    },
    service::{
        campaign::{self, Campaign, CampaignCost, CampaignCounts, CampaignMember},
        dashboard::{
            error::PageError,
            format,
            frame::{Frame, Section},
            render,
            visit::Visitor,
        },
        domain::transfers::Status,
        state::AppState,
    },
};

#[derive(askama::Template)]
#[template(
    path = "retunes/campaign.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    id: RetuneId,
    base: String,
    sentence: String,
    tiles: Vec<Tile>,
    decisions: Vec<Decision>,
    cost: String,
    basis: String,
    members: Vec<Line>,
}

struct Tile {
    figure: usize,
    name: &'static str,
}

struct Line {
    fine_tune: String,
    version: Option<i32>,
    target: String,
    transfer: TransferId,
    class: &'static str,
    outcome: String,
    source: String,
    before: String,
    score: String,
    advice: String,
    computed: String,
}

pub async fn handle(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Html<String>, PageError> {
    let tenant = visitor.principal.tenant;
    let id: RetuneId = id.parse().map_err(|_| PageError::NotFound)?;
    let found = campaign::look(&state.database, &state.storage(tenant), tenant, id).await?;
    let Campaign {
        retune,
        counts,
        cost,
        decisions,
        members,
    } = found.ok_or(PageError::NotFound)?;

    Ok(render(&Page {
        frame: visitor.frame(Section::Retunes, "Campaign"),
        id,
        base: list::target(&retune),
        sentence: sentence(counts),
        tiles: vec![
            Tile {
                figure: counts.carried,
                name: "carried",
            },
            Tile {
                figure: counts.in_production,
                name: "of these in production",
            },
            Tile {
                figure: counts.fell_short,
                name: "fell short",
            },
            Tile {
                figure: counts.failed,
                name: "failed",
            },
            Tile {
                figure: counts.open,
                name: "not over yet",
            },
        ],
        decisions: decisions.iter().map(Decision::from).collect(),
        cost: told(cost),
        basis: basis(cost),
        members: members.into_iter().map(Line::from).collect(),
    })?)
}

fn sentence(counts: CampaignCounts) -> String {
    let ended = counts.carried + counts.fell_short + counts.failed;
    let all = ended + counts.cancelled + counts.open;
    match (counts.open, ended) {
        (_, 0) => format!("Of {all} fine-tunes none has ended yet."),
        (0, _) => {
            format!(
                "{} of {all} fine-tunes were carried and passed their gates.",
                counts.carried
            )
        }
        (open, _) => {
            format!(
                "{} of {all} fine-tunes are carried; {open} are not over yet.",
                counts.carried
            )
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with few digits")]
fn told(cost: CampaignCost) -> String {
    let seconds = format!(
        "All attempts together computed for {}.",
        format::seconds(cost.compute_seconds)
    );
    if cost.reports == 0 || cost.one_epoch_sample_gradients == 0 {
        return seconds;
    }
    let (taken, epoch) = (
        cost.sample_gradients as f64,
        cost.one_epoch_sample_gradients as f64,
    );
    let anew = format!(
        "one epoch of training each anew takes {}",
        format::figure(Some(epoch))
    );
    if cost.sample_gradients == 0 {
        return format!("{seconds} They took no gradient; {anew} sample gradients.");
    }
    let times = format::figure(Some(epoch / taken));
    let taken = format::figure(Some(taken));
    format!("{seconds} They took {taken} sample gradients; {anew}, that is {times} times as many.")
}

fn basis(cost: CampaignCost) -> String {
    match cost.reports {
        0 => {
            "No report says what training takes: the jobs had no training data, or none has ended."
                .into()
        }
        1 => "From the report of 1 transfer. How many epochs a training needs is not known here."
            .into(),
        count => format!(
            "From the reports of {count} transfers. How many epochs a training needs is not known here."
        ),
    }
}

impl From<CampaignMember> for Line {
    fn from(member: CampaignMember) -> Self {
        let (class, outcome) = match (member.status, member.verdict) {
            (Status::Succeeded, Some(Verdict::Rejected)) => ("rejected", "fell short".to_owned()),
            (Status::Succeeded, _) if member.in_production => ("published", "in production".into()),
            (Status::Succeeded, _) => ("published", "carried".into()),
            (Status::Failed, _) => ("rejected", "failed".into()),
            (status, _) => ("", status.name().to_owned()),
        };
        Self {
            target: format::last_part(&member.target),
            fine_tune: member.fine_tune,
            version: member.version,
            transfer: member.transfer,
            class,
            outcome,
            source: format::percent(member.source_score),
            before: format::percent(member.target_score_before),
            score: format::percent(member.score),
            advice: member
                .recommendation
                .map(|advice| format::words(advice.name()))
                .unwrap_or_default(),
            computed: format::seconds(member.compute_seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_told_beside_training_where_it_is_known() {
        let cost = CampaignCost {
            compute_seconds: 90.0,
            ..CampaignCost::default()
        };
        assert_eq!(told(cost), "All attempts together computed for 1 min 30 s.");
        let cost = CampaignCost {
            reports: 2,
            sample_gradients: 50,
            one_epoch_sample_gradients: 1000,
            ..cost
        };
        assert!(told(cost).contains("50 sample gradients"), "{}", told(cost));
        assert!(told(cost).contains("20 times"), "{}", told(cost));
        let free = CampaignCost {
            sample_gradients: 0,
            ..cost
        };
        assert!(told(free).ends_with(
            "no gradient; one epoch of training each anew takes 1\u{a0}000 sample gradients."
        ));
        let counts = CampaignCounts {
            carried: 2,
            fell_short: 1,
            ..CampaignCounts::default()
        };
        assert_eq!(
            sentence(counts),
            "2 of 3 fine-tunes were carried and passed their gates."
        );
    }
}
