//! A retune seen as one: what was carried, what fell short, what it took beside training anew, and what a person
//! must decide.

use futures::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    database::{
        Database,
        retunes::{self, campaign::Member},
        transfers,
    },
    domain::{
        registry::{fine_tunes::VersionState, retunes::Retune},
        transfers::Status,
    },
    results,
};
use crate::{
    contract::{
        ids::{RetuneId, TenantId, TransferId},
        report::Report,
    },
    storage::Storage,
};

/// Reports that are read for what they cost; the rest counts as unread.
const MAX_REPORTS: usize = 200;
/// Reports read at once.
const AT_ONCE: usize = 8;

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

/// Something that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OpenDecision {
    pub fine_tune: String,
    #[schema(value_type = Uuid)]
    pub transfer: TransferId,
    /// `promote`, `judge`, `retry` or `collect`.
    pub kind: String,
    /// What is to be decided, in a sentence.
    pub sentence: String,
}

/// One fine-tune onto one base.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CampaignMember {
    pub fine_tune: String,
    /// The registered version, or the location.
    pub target: String,
    #[schema(value_type = Uuid)]
    pub transfer: TransferId,
    pub status: Status,
    pub verdict: Option<String>,
    pub recommendation: Option<String>,
    /// Accuracy, or without labels agreement with the old tuned model, of the result.
    pub score: Option<f64>,
    /// The same of the old tuned model.
    pub source_score: Option<f64>,
    /// The same of the new base as it is.
    pub target_score_before: Option<f64>,
    pub compute_seconds: f64,
    /// The version of the fine-tune that it made.
    pub version: Option<i32>,
    pub state: Option<VersionState>,
    pub in_production: bool,
    /// Why it failed.
    pub error: Option<String>,
    /// Share of its phase that is done, while it runs.
    pub progress: Option<f64>,
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
        .buffer_unordered(AT_ONCE)
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
        let mut decisions: Vec<OpenDecision> = members.iter().filter_map(decision).collect();
        let urgency = ["judge", "retry", "collect", "promote"];
        decisions.sort_by_key(|decision| urgency.iter().position(|kind| *kind == decision.kind));

        Self {
            counts: counts(&members),
            cost: cost(&retune, reports),
            decisions,
            members,
            retune,
        }
    }
}

impl From<Member> for CampaignMember {
    fn from(member: Member) -> Self {
        let metrics = member.metrics.unwrap_or_default();
        let progress = member
            .progress_done
            .zip(member.progress_total)
            .filter(|(_, total)| *total > 0);
        #[expect(clippy::cast_precision_loss, reason = "a share to look at")]
        let progress = progress.map(|(done, total)| done as f64 / total as f64);
        Self {
            score: first(&metrics, &["accuracy", "agreement"]),
            // Without labels there is nothing to say: it agrees with itself.
            source_score: first(&metrics, &["source_accuracy"]),
            target_score_before: first(
                &metrics,
                &["target_accuracy_before", "target_agreement_before"],
            ),
            fine_tune: member.fine_tune,
            target: member.base_version.unwrap_or(member.target_base),
            transfer: member.transfer,
            progress: progress.filter(|_| !member.status.is_final()),
            status: member.status,
            verdict: member.verdict,
            recommendation: member.recommendation,
            compute_seconds: member.compute_seconds,
            version: member.version,
            state: member.state,
            in_production: member.in_production,
            error: member
                .error_detail
                .filter(|_| member.status == Status::Failed),
        }
    }
}

/// The first of these metrics that was measured.
fn first(metrics: &Value, names: &[&str]) -> Option<f64> {
    names.iter().find_map(|name| metrics[*name].as_f64())
}

fn counts(members: &[CampaignMember]) -> CampaignCounts {
    let mut counts = CampaignCounts::default();
    for member in members {
        match (member.status, member.verdict.as_deref()) {
            (Status::Succeeded, Some("rejected")) => counts.fell_short += 1,
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

/// What a member leaves to a person, if anything.
fn decision(member: &CampaignMember) -> Option<OpenDecision> {
    let name = &member.fine_tune;
    let version = member.version.unwrap_or_default();
    let (kind, sentence) = match (
        member.status,
        member.state,
        member.recommendation.as_deref(),
    ) {
        (Status::Failed, ..) => (
            "retry",
            format!("{name} failed: mend the cause and retry, or let it be."),
        ),
        (_, Some(VersionState::Rejected), Some("collect")) => (
            "collect",
            format!(
                "{name} cannot be told from what it replaces: collect more samples, or keep the old model."
            ),
        ),
        (_, Some(VersionState::Rejected), _) => (
            "judge",
            format!(
                "{name} fell short of its gate: train it anew, keep the old model, or move the gate."
            ),
        ),
        (_, Some(VersionState::Proposed), _) => (
            "promote",
            format!("{name} version {version} waits to be promoted."),
        ),
        _ => return None,
    };

    Some(OpenDecision {
        fine_tune: name.clone(),
        transfer: member.transfer,
        kind: kind.into(),
        sentence,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::OffsetDateTime;

    use super::*;
    use crate::service::domain::registry::retunes::{Counts, Limits, Reason, RetuneStatus};

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
                "rejected"
            } else {
                "published"
            }
        });
        Member {
            transfer: TransferId::generate(),
            fine_tune: name.into(),
            base_version: Some("2".into()),
            target_base: "file:///b/".into(),
            status,
            verdict: verdict.map(ToOwned::to_owned),
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
        let kinds: Vec<_> = campaign
            .decisions
            .iter()
            .map(|one| (one.kind.as_str(), one.fine_tune.as_str()))
            .collect();
        assert_eq!(kinds, [("judge", "b"), ("retry", "c"), ("promote", "a")]);
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
