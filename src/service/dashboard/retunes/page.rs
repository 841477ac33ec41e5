//! `/retunes/{id}`: fine-tunes × bases, and what can be done about them.

use axum::{
    extract::{Path, State},
    response::Html,
};
use time::OffsetDateTime;

use super::{grid::Grid, list::Row};
use crate::{
    contract::ids::RetuneId,
    service::{
        campaign::{Campaign, DecisionKind, OpenDecision},
        dashboard::{
            action::Action,
            error::PageError,
            format,
            frame::{Frame, Section},
            render,
            visit::Visitor,
        },
        database::retunes::{self, campaign},
        domain::{
            access::Role,
            registry::retunes::{Limits, Retune, RetuneStatus},
        },
        state::AppState,
    },
};

#[derive(askama::Template)]
#[template(
    path = "retunes/page.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    row: Row,
    model: Option<String>,
    computed: String,
    limits: String,
    actions: Vec<Action>,
    grid: Grid,
    decisions: Vec<Decision>,
}

/// Something that waits for a person, and where it is done.
pub struct Decision {
    pub href: String,
    pub sentence: String,
}

impl From<&OpenDecision> for Decision {
    fn from(open: &OpenDecision) -> Self {
        let href = match open.kind {
            DecisionKind::Promote => format!("/fine-tunes/{}", open.fine_tune),
            DecisionKind::Judge | DecisionKind::Retry | DecisionKind::Collect => {
                format!("/transfers/{}", open.transfer)
            }
        };
        Self {
            href,
            sentence: open.sentence.clone(),
        }
    }
}

pub async fn handle(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Html<String>, PageError> {
    let tenant = visitor.principal.tenant;
    let id: RetuneId = id.parse().map_err(|_| PageError::NotFound)?;
    let retune = retunes::get(&state.database, tenant, id)
        .await?
        .ok_or(PageError::NotFound)?;
    let members = campaign::members(&state.database, tenant, id).await?;
    let campaign = Campaign::of(retune, members, &[]);
    let retune = &campaign.retune;
    let now = OffsetDateTime::now_utc();

    Ok(render(&Page {
        frame: visitor
            .frame(Section::Retunes, "Retune")
            .every(if retune.status.is_final() { 15 } else { 3 }),
        row: Row::of(retune, now),
        model: retune.base_model.clone(),
        computed: format::seconds(retune.compute_seconds),
        limits: limits(retune.limits),
        actions: actions(&visitor, retune),
        grid: Grid::of(&campaign.members),
        decisions: campaign.decisions.iter().map(Decision::from).collect(),
    })?)
}

fn limits(limits: Limits) -> String {
    let at_once = limits
        .max_concurrent
        .map(|most| format!("{most} at work at once"));
    #[expect(clippy::cast_precision_loss, reason = "shown in whole seconds")]
    let seconds = limits
        .max_compute_seconds
        .map(|most| format!("{} in all", format::seconds(most as f64)));
    at_once
        .into_iter()
        .chain(seconds)
        .collect::<Vec<_>>()
        .join(", ")
}

fn actions(visitor: &Visitor, retune: &Retune) -> Vec<Action> {
    if !visitor.may(Role::Submit) || retune.status.is_final() {
        return Vec::new();
    }

    let id = retune.id;
    let hold = if retune.status == RetuneStatus::Paused {
        Action::new(visitor, "Resume", format!("/retunes/{id}/resume")).primary()
    } else {
        Action::new(visitor, "Pause", format!("/retunes/{id}/pause"))
    };
    let question =
        "What waits is cancelled, what runs stops before its next step. What has ended stays.";
    vec![
        hold,
        Action::new(visitor, "Cancel", format!("/retunes/{id}/cancel"))
            .asking(question)
            .danger(),
    ]
}
