//! What a campaign leaves to a person.

use serde::Serialize;
use utoipa::ToSchema;

use super::CampaignMember;
use crate::{
    contract::{ids::TransferId, outcome::Recommendation},
    service::domain::{registry::fine_tunes::VersionState, transfers::Status},
};

/// What a person is to do, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// It fell short of its gate.
    Judge,
    /// It failed.
    Retry,
    /// More samples are needed.
    Collect,
    /// A version waits to be promoted.
    Promote,
}

/// Something that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OpenDecision {
    pub fine_tune: String,
    #[schema(value_type = Uuid)]
    pub transfer: TransferId,
    /// `promote`, `judge`, `retry` or `collect`.
    #[schema(value_type = String)]
    pub kind: DecisionKind,
    /// What is to be decided, in a sentence.
    pub sentence: String,
}

/// What a member leaves to a person, if anything.
pub(super) fn decision(member: &CampaignMember) -> Option<OpenDecision> {
    let name = &member.fine_tune;
    let version = member.version.unwrap_or_default();
    let (kind, sentence) = match (member.status, member.state, member.recommendation) {
        (Status::Failed, ..) => (
            DecisionKind::Retry,
            format!("{name} failed: mend the cause and retry, or let it be."),
        ),
        (_, Some(VersionState::Rejected), Some(Recommendation::Collect)) => (
            DecisionKind::Collect,
            format!(
                "{name} cannot be told from what it replaces: collect more samples, or keep the old model."
            ),
        ),
        (_, Some(VersionState::Rejected), _) => (
            DecisionKind::Judge,
            format!(
                "{name} fell short of its gate: train it anew, keep the old model, or move the gate."
            ),
        ),
        (_, Some(VersionState::Proposed), _) => (
            DecisionKind::Promote,
            format!("{name} version {version} waits to be promoted."),
        ),
        _ => return None,
    };

    Some(OpenDecision {
        fine_tune: name.clone(),
        transfer: member.transfer,
        kind,
        sentence,
    })
}
