//! A retune seen as one: what was carried, what fell short, what it took beside training anew, and what a person
//! must decide.

mod decisions;
mod member;

use futures::{StreamExt, stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    database::{
        Database,
        retunes::{self, campaign::Member},
        transfers,
    },
    domain::{registry::retunes::Retune, transfers::Status},
    results,
};
use crate::{
    contract::{
        ids::{RetuneId, TenantId, TransferId},
        outcome::Verdict,
        report::Report,
    },
    storage::Storage,
};

pub use decisions::{DecisionKind, OpenDecision};
pub use member::CampaignMember;

/// Reports that are read for what they cost; the rest counts as unread.
const MAX_REPORTS: usize = 200;
/// Reports read at once.
const CONCURRENT_READS: usize = 8;

/// A retune with what came of each of its transfers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Campaign {
    pub retune: Retune,
    pub counts: CampaignCounts,
    pub cost: CampaignCost,
    /// What nobody but a person can do, the most urgent first.
    pub decisions: Vec<OpenDecision>,
    pub members: Vec<CampaignMember>,
}

/// How far the transfers have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct CampaignCounts {
    /// Passed their gates.
    pub carried: usize,
    /// Of these, in production.
    pub in_production: usize,
    /// Rejected by their gates.
    pub fell_short: usize,
    pub failed: usize,
    pub cancelled: usize,
    /// Not over yet.
    pub open: usize,
}

/// What the transfers took, beside what training takes. Gradients are counted in samples: one is a forward and a
/// backward pass of one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct CampaignCost {
    /// Of all attempts that have ended.
    pub compute_seconds: f64,
    /// Transfers whose reports say what they took; the two counts below are of these.
    pub reports: usize,
    /// What their selection, alignment and checks took.
    pub sample_gradients: u64,
    /// What one epoch of training on the same data takes, for each of them.
    pub one_epoch_sample_gradients: u64,
}

/// The tenant's retune as one; `None` where it has none of this id.
///
/// # Errors
/// From the database. Reports that cannot be read are left out of the cost.
pub async fn look(
    database: &Database,
    storage: &Storage,
    tenant: TenantId,
    id: RetuneId,
) -> Result<Option<Campaign>, sqlx::Error> {
    let Some(retune) = retunes::get(database, tenant, id).await? else {
        return Ok(None);
    };

    let members = retunes::campaign::members(database, tenant, id).await?;
    let done = members
        .iter()
        .filter(|member| member.status == Status::Succeeded);
    let done: Vec<TransferId> = done
        .map(|member| member.transfer)
        .take(MAX_REPORTS)
        .collect();
    let reports = stream::iter(done).map(|id| report(database, storage, tenant, id));
    let reports: Vec<Report> = reports
        .buffer_unordered(CONCURRENT_READS)
        .filter_map(std::future::ready)
        .collect()
        .await;

    Ok(Some(Campaign::of(retune, members, &reports)))
}

async fn report(
    database: &Database,
    storage: &Storage,
    tenant: TenantId,
    id: TransferId,
) -> Option<Report> {
    let transfer = transfers::get(database, tenant, id).await.ok()??;
    let bytes = results::report(storage, &transfer).await.ok()?;
    Report::from_json(&bytes).ok()
}

impl Campaign {
    /// Of the retune's members and the reports that could be read.
    pub fn of(retune: Retune, members: Vec<Member>, reports: &[Report]) -> Self {
        let members: Vec<CampaignMember> = members.into_iter().map(CampaignMember::from).collect();
        let mut decisions: Vec<OpenDecision> =
            members.iter().filter_map(decisions::decision).collect();
        decisions.sort_by_key(|decision| decision.kind);

        Self {
            counts: counts(&members),
            cost: cost(&retune, reports),
            decisions,
            members,
            retune,
        }
    }
}

fn counts(members: &[CampaignMember]) -> CampaignCounts {
    let mut counts = CampaignCounts::default();
    for member in members {
        match (member.status, member.verdict) {
            (Status::Succeeded, Some(Verdict::Rejected)) => counts.fell_short += 1,
            (Status::Succeeded, _) => {
                counts.carried += 1;
                counts.in_production += usize::from(member.in_production);
            }
            (Status::Failed, _) => counts.failed += 1,
            (Status::Cancelled, _) => counts.cancelled += 1,
            (
                Status::Queued | Status::Running | Status::AwaitingEvaluation | Status::Cancelling,
                _,
            ) => counts.open += 1,
        }
    }

    counts
}

fn cost(retune: &Retune, reports: &[Report]) -> CampaignCost {
    let compared = reports.iter().filter_map(|report| {
        let epoch = u64::try_from(report.cost.one_epoch_sample_gradients?).ok()?;
        Some((report.cost.total?.sample_gradients, epoch))
    });
    let start = CampaignCost {
        compute_seconds: retune.compute_seconds,
        ..CampaignCost::default()
    };

    compared.fold(start, |sum, (taken, epoch)| CampaignCost {
        reports: sum.reports + 1,
        sample_gradients: sum.sample_gradients + taken,
        one_epoch_sample_gradients: sum.one_epoch_sample_gradients + epoch,
        ..sum
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::OffsetDateTime;

    use super::*;
    use crate::service::domain::registry::{
        fine_tunes::VersionState,
        retunes::{Counts, Limits, Reason, RetuneStatus},
    };

    fn retune() -> Retune {
        Retune {
            id: RetuneId::generate(),
            status: RetuneStatus::Running,
            reason: Reason::NewVersion,
            base_model: None,
            base_version: None,
            counts: Counts::default(),
            limits: Limits::default(),
            compute_seconds: 12.5,
            created_at: OffsetDateTime::UNIX_EPOCH,
            started_at: None,
            finished_at: None,
        }
    }

    fn member(name: &str, status: Status, state: Option<VersionState>) -> Member {
        let verdict = state.map(|state| {
            if state == VersionState::Rejected {
                Verdict::Rejected
            } else {
                Verdict::Published
            }
        });
        Member {
            transfer: TransferId::generate(),
            fine_tune: name.into(),
            base_version: Some("2".into()),
            target_base: "file:///b/".into(),
            status,
            verdict,
            recommendation: None,
            metrics: Some(json!({"accuracy": 0.9, "source_accuracy": 0.95})),
            error_detail: Some("no file".into()),
            progress_done: Some(1),
            progress_total: Some(4),
            compute_seconds: 1.0,
            finished_at: None,
            version: Some(3),
            state,
            in_production: false,
        }
    }

    #[test]
    fn a_campaign_counts_and_says_what_waits_for_a_person() {
        let members = vec![
            member("a", Status::Succeeded, Some(VersionState::Proposed)),
            member("b", Status::Succeeded, Some(VersionState::Rejected)),
            member("c", Status::Failed, None),
            member("d", Status::Running, None),
            Member {
                in_production: true,
                ..member("e", Status::Succeeded, Some(VersionState::Published))
            },
        ];
        let campaign = Campaign::of(retune(), members, &[]);
        let counts = CampaignCounts {
            carried: 2,
            in_production: 1,
            fell_short: 1,
            failed: 1,
            cancelled: 0,
            open: 1,
        };
        assert_eq!(campaign.counts, counts);
        assert_eq!(
            serde_json::to_value(&campaign.decisions[0]).unwrap()["kind"],
            "judge"
        );
        let kinds: Vec<_> = campaign
            .decisions
            .iter()
            .map(|one| (one.kind, one.fine_tune.as_str()))
            .collect();
        assert_eq!(
            kinds,
            [
                (DecisionKind::Judge, "b"),
                (DecisionKind::Retry, "c"),
                (DecisionKind::Promote, "a")
            ]
        );
        assert_eq!(campaign.members[3].progress, Some(0.25));
        assert_eq!(
            (campaign.members[0].progress, campaign.members[0].score),
            (None, Some(0.9))
        );
        assert_eq!(
            (
                campaign.members[2].error.as_deref(),
                campaign.members[3].error.as_deref()
            ),
            (Some("no file"), None)
        );
    }

    #[test]
    fn what_it_took_is_added_up_where_it_can_be_compared() {
        let report = |taken: u64, epoch: Option<usize>| {
            let cost =
                json!({"total": {"sample_gradients": taken}, "one_epoch_sample_gradients": epoch});
            let report = json!({"candidates": [], "cost": cost}).to_string();
            Report::from_json(report.as_bytes()).unwrap()
        };
        let reports = [report(10, Some(100)), report(5, Some(50)), report(7, None)];
        let cost = Campaign::of(retune(), Vec::new(), &reports).cost;
        assert_eq!(
            (
                cost.reports,
                cost.sample_gradients,
                cost.one_epoch_sample_gradients
            ),
            (2, 15, 150)
        );
        assert!((cost.compute_seconds - 12.5).abs() < 1e-9);
    }
}
