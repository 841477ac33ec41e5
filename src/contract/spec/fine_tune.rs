//! The stage of training after a transfer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Optimizer, words::auto};

/// A bounded budget of training after the transfer.
///
/// With `learning_rate: "auto"` (the default) it is a touch-up: what is not given of `warmup`, `clip`,
/// `looks_per_epoch` and `patience` is then chosen for a warm start. With a number what is not given is
/// off: plain training whose end is the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FineTuneStage)]
pub struct FineTune {
    #[serde(default = "default_epochs")]
    pub epochs: usize,
    #[serde(default)]
    pub optimizer: Optimizer,
    #[serde(default)]
    pub learning_rate: LearningRate,
    #[serde(default = "default_batch_size")]
    pub batch_size: usize,
    /// Training ends as soon as the validation accuracy reaches this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub stop_at: Option<f64>,
    /// What is learned: the data's labels, or the probabilities of the old tuned model.
    #[serde(default, skip_serializing_if = "are_given")]
    pub labels: Labels,
    /// Share of the steps over which the learning rate rises; of a touch-up 0.05.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, exclusive_maximum = 1)]
    pub warmup: Option<f64>,
    /// The largest norm of a step's gradient, all tensors together; of a touch-up 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(exclusive_minimum = 0)]
    pub clip: Option<f64>,
    /// λ of a pull `λ‖θ − θ_start‖²` towards the transferred model, which relaxes to nothing over the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1000)]
    pub pull: Option<f64>,
    /// Looks at the validation data within an epoch. The best is the result, of those that the samples cannot
    /// tell apart the last. Of a touch-up 8, or as many as keep their price at a quarter of the training's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub looks_per_epoch: Option<usize>,
    /// Training ends after so many looks in a row below the best one; of a touch-up two epochs of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000)]
    pub patience: Option<usize>,
    /// Trains the linear layers alone, by an update of this rank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 4096)]
    pub lora_rank: Option<usize>,
}

fn default_epochs() -> usize {
    1
}

fn default_batch_size() -> usize {
    128
}

impl Default for FineTune {
    fn default() -> Self {
        Self {
            epochs: default_epochs(),
            optimizer: Optimizer::default(),
            learning_rate: LearningRate::default(),
            batch_size: default_batch_size(),
            stop_at: None,
            labels: Labels::default(),
            warmup: None,
            clip: None,
            pull: None,
            looks_per_epoch: None,
            patience: None,
            lora_rank: None,
        }
    }
}

/// At the first step after the warm-up, or by three short trials around the optimiser's usual rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number or \"auto\"")]
pub enum LearningRate {
    Fixed(f64),
    #[default]
    #[serde(with = "auto")]
    Auto,
}

/// What a training learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = FineTuneLabels)]
pub enum Labels {
    /// The labels of the data.
    #[default]
    Given,
    /// The probabilities that the old tuned model gives.
    OldModel,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn are_given(labels: &Labels) -> bool {
    *labels == Labels::Given
}
