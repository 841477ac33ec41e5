//! One fine-tune of a campaign, onto one base.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    contract::{
        ids::TransferId,
        outcome::{Recommendation, Verdict},
    },
    service::{
        database::retunes::campaign::Member,
        domain::{registry::fine_tunes::VersionState, transfers::Status},
    },
};

/// One fine-tune onto one base.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CampaignMember {
    pub fine_tune: String,
    /// The registered version, or the location.
    pub target: String,
    #[schema(value_type = Uuid)]
    pub transfer: TransferId,
    pub status: Status,
    #[schema(value_type = Option<String>)]
    pub verdict: Option<Verdict>,
    #[schema(value_type = Option<String>)]
    pub recommendation: Option<Recommendation>,
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
            score: first(&metrics, &["accuracy", "r2", "agreement"]),
            // Without labels there is nothing to say: it agrees with itself.
            source_score: first(&metrics, &["source_accuracy", "source_r2"]),
            target_score_before: first(
                &metrics,
                &[
                    "target_accuracy_before",
                    "target_r2_before",
                    "target_agreement_before",
                ],
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
