//! What stands, or is reached by training alone.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Epoch, Scores, lenient};

/// What stands or is reached without a transfer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Baselines {
    /// The old tuned model.
    #[serde(deserialize_with = "lenient::part")]
    pub source_tuned: Option<Standing>,
    /// The new base.
    #[serde(deserialize_with = "lenient::part")]
    pub target_before: Option<Standing>,
    /// The new base after plain training at the winner's cost.
    #[serde(deserialize_with = "lenient::part")]
    pub few_shot: Option<Trained>,
    /// The new base after the job's own training.
    #[serde(deserialize_with = "lenient::part")]
    pub fine_tune_only: Option<Trained>,
    /// The winner after the same steps without the pull towards it. Absent where there was no pull.
    #[serde(
        deserialize_with = "lenient::part",
        skip_serializing_if = "Option::is_none"
    )]
    pub without_pull: Option<Trained>,
}

/// A model as it stands: the figures of the test split, with those of validation beside them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Standing {
    pub accuracy: Option<f64>,
    pub loss: Option<f64>,
    /// Of a test split without labels. Absent where there are labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// Of a regression alone, in the place of accuracy: `1 − MSE / variance` of the labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// Whose running statistics they rest on: `as_deployed` or `re_estimated`.
    pub statistics: String,
    pub validation: Option<Scores>,
}

impl Standing {
    /// Accuracy on the test split, or agreement where there are no labels, or R².
    pub fn share(&self) -> Option<f64> {
        self.accuracy.or(self.agreement).or(self.r2)
    }
}

/// A model after training without a transfer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Trained {
    /// On the test split; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// On the test split; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Of a test split without labels. Absent where there are labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// Of a regression alone, in the place of accuracy: `1 − MSE / variance` of the labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    pub validation: Option<Scores>,
    pub epochs: Vec<Epoch>,
    /// `finished`, `target_reached`, `out_of_patience` or `interrupted`.
    pub end: String,
    pub sample_gradients: u64,
    pub flops: f64,
    /// Where it was chosen by trials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Of few-shot alone: training samples used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// Of few-shot alone: it was trained on the old tuned model's probabilities, because the training samples
    /// have no labels. Absent where it was not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_old_model: bool,
}
