//! How a job's methods compute, and how one candidate is chosen.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Method,
    words::{by_group, search},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// T: how many points of the trajectory are matched.
    #[schema(minimum = 1, maximum = 1000)]
    pub timesteps: usize,
    /// B: samples per gradient.
    #[schema(minimum = 1, maximum = 1_048_576)]
    pub batch_size: usize,
    pub schedule: Schedule,
    pub trajectory: TrajectoryKind,
    pub step: Step,
    pub head: Head,
    pub alpha: Alpha,
    /// How much the bases' own parameters count in `gmt` and `fgmt`, beside the first pair of
    /// gradients; 0 is the paper's method.
    #[schema(minimum = 0, maximum = 1000)]
    pub weight_anchor: f64,
    /// The method whose transported update `gradfix` masks; under `auto` the best so far.
    pub gradfix_on: Method,
    /// Takes out of every update, tensor by tensor, what points along the difference of the bases.
    pub orthogonal_shift: bool,
    pub seed: u64,
    /// How validation samples choose.
    #[serde(skip_serializing_if = "Selection::is_default")]
    pub selection: Selection,
    /// Takes the loss barrier between the bases (under `auto`, where it has matched them) and, after
    /// fine-tuning, the one between its ends.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub barrier: bool,
    /// Beside the model, the update alone: the result's `adapter/` folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timesteps: 10,
            batch_size: 128,
            schedule: Schedule::Uniform,
            trajectory: TrajectoryKind::Linear,
            step: Step::Best,
            head: Head::Transport,
            alpha: Alpha::Search,
            weight_anchor: 3.0,
            gradfix_on: Method::Identity,
            orthogonal_shift: false,
            seed: 0,
            selection: Selection::default(),
            barrier: false,
            update: None,
        }
    }
}

/// λ of the linear trajectory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    Uniform,
    Cosine,
}

/// Which points stand for the tuning: the segment between its ends, or the stored checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrajectoryKind {
    Linear,
    Stored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Best,
    Last,
}

/// What becomes of the output layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    Transport,
    Source,
    Keep,
}

/// Length of the step along the transported task vector.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number, \"search\" or \"by_group\"")]
pub enum Alpha {
    Fixed(f64),
    #[serde(with = "search")]
    Search,
    /// As `Search`, then one α for each kind of layer in each third of the depth.
    #[serde(with = "by_group")]
    ByGroup,
}

/// How validation samples choose step, α and method: models race on growing blocks of them, and are compared
/// in pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = SelectionOptions)]
pub struct Selection {
    /// Validation samples that choose, at most; of a language model, sequences.
    #[schema(minimum = 1, maximum = 1_048_576)]
    pub samples: usize,
    /// 1 less the error that one race makes at most when it drops models.
    #[schema(exclusive_minimum = 0.5, exclusive_maximum = 1)]
    pub confidence: f64,
    /// Accuracy lost without regret: a transfer shown to lose less against the old tuned model is enough.
    #[schema(minimum = 0, maximum = 1)]
    pub margin: f64,
}

impl Selection {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            samples: 512,
            confidence: 0.95,
            margin: 0.01,
        }
    }
}

/// How the transferred update is written beside the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Update {
    pub format: UpdateFormat,
    /// Of every linear layer's update, truncated by its singular values; what that leaves out is in the
    /// report, tensor by tensor.
    #[schema(minimum = 1, maximum = 4096)]
    pub rank: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdateFormat {
    /// A PEFT LoRA adapter on the new base: `adapter_config.json` and `adapter_model.safetensors`.
    Lora,
}
