//! Where a transfer is, and how it ends.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a running transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Fetching,
    Diagnosing,
    Aligning,
    Transferring,
    Evaluating,
    FineTuning,
    Publishing,
}

impl Phase {
    /// In the order of a transfer.
    pub const ALL: [Self; 7] = [
        Self::Fetching,
        Self::Diagnosing,
        Self::Aligning,
        Self::Transferring,
        Self::Evaluating,
        Self::FineTuning,
        Self::Publishing,
    ];

    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fetching => "fetching",
            Self::Diagnosing => "diagnosing",
            Self::Aligning => "aligning",
            Self::Transferring => "transferring",
            Self::Evaluating => "evaluating",
            Self::FineTuning => "fine_tuning",
            Self::Publishing => "publishing",
        }
    }
}

/// Whether the result was made available, or a report only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Published,
    Rejected,
}

impl Verdict {
    pub const ALL: [Self; 2] = [Self::Published, Self::Rejected];

    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Rejected => "rejected",
        }
    }
}

/// What the evidence says the owner should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Recommendation {
    #[serde(rename = "copy")]
    Copy,
    #[serde(rename = "transfer")]
    Transfer,
    #[serde(rename = "transfer+fine_tune")]
    TransferAndFineTune,
    #[serde(rename = "retrain")]
    Retrain,
    #[serde(rename = "keep_old")]
    KeepOld,
    /// The samples cannot tell: more of them are needed.
    #[serde(rename = "collect")]
    Collect,
}

impl Recommendation {
    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Transfer => "transfer",
            Self::TransferAndFineTune => "transfer+fine_tune",
            Self::Retrain => "retrain",
            Self::KeepOld => "keep_old",
            Self::Collect => "collect",
        }
    }
}

/// A finished transfer, as the job row keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// `<output>/<transfer id>/`
    pub uri: String,
    pub manifest_sha256: String,
    /// Of the files that the manifest names.
    pub bytes: u64,
    pub verdict: Verdict,
    pub recommendation: Option<Recommendation>,
    /// The winner's figures: `{"method", "accuracy", "loss", "split", …}`.
    pub metrics: serde_json::Value,
}
