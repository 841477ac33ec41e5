//! How a training after a transfer was done, where it was more than plain training.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::lenient;

/// What a training did beside plain steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TouchUp {
    /// What was learned: `given` labels, or the probabilities of the `old_model`.
    pub labels: String,
    pub learning_rate: Option<f64>,
    /// The learning rates that were tried; empty where the job gives one. Their price is counted.
    #[serde(deserialize_with = "lenient::items")]
    pub trials: Vec<RateTrial>,
    /// Share of the steps over which the learning rate rose.
    pub warmup: Option<f64>,
    /// The largest norm of a step's gradient; null where none was clipped.
    pub clip: Option<f64>,
    /// λ of the pull towards the transferred model at the first step; 0 where there was none.
    pub pull: Option<f64>,
    /// Rank of the update of the linear layers; null where all learned tensors were trained.
    pub lora_rank: Option<usize>,
    /// Looks at the validation data, on at most 512 of them.
    #[serde(deserialize_with = "lenient::items")]
    pub looks: Vec<Look>,
    /// Steps done at the look that is the result; null where the end is.
    pub best_step: Option<usize>,
}

/// One learning rate that was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = ReportRateTrial)]
pub struct RateTrial {
    pub learning_rate: Option<f64>,
    /// On validation after the trial, without validation of training; null where it diverged.
    pub loss: Option<f64>,
}

/// One look at the validation data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = ReportLook)]
pub struct Look {
    /// Steps done.
    pub step: usize,
    pub validation_loss: Option<f64>,
    pub validation_accuracy: Option<f64>,
    /// Absent where there are labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_agreement: Option<f64>,
    /// Of a regression alone, in the place of accuracy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_r2: Option<f64>,
}
