//! The job specification: what `POST /v1/transfers`, `retune transfer` and `retune plan` accept.
//!
//! One type for API, command line and pipeline, so that they cannot disagree. Reading happens in
//! two steps: [`Spec::from_json`] checks form (types, unknown fields, ranges, combinations) and
//! names every fault by a JSON pointer; whether the locations exist and may be read is for
//! `storage` and `pipeline::plan` to say.

mod check;
mod fine_tune;
pub mod objects;
mod schema;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use check::{Fault, SpecError, check_gate_name};
pub use fine_tune::{FineTune, Labels, LearningRate};

/// One transfer: the learning trajectory `source.base → source.trajectory`, carried onto
/// `target.base`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What people call the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 80)]
    pub name: Option<String>,
    pub source: Source,
    pub target: Target,
    /// Without data only data-free methods can run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
    #[serde(default)]
    pub methods: Methods,
    #[serde(default)]
    pub options: Options,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fine_tune: Option<FineTune>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// Folder under which `<transfer id>/` is written.
    #[schema(min_length = 1)]
    pub output: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// The old base and what it became.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Folder of the model that the tuning started from.
    #[schema(min_length = 1)]
    pub base: String,
    /// A `trajectory.json` folder, a Trainer output folder or a single tuned model.
    #[schema(min_length = 1)]
    pub trajectory: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Folder of the new base model.
    #[schema(min_length = 1)]
    pub base: String,
}

/// Safetensors or Parquet files with inputs and, except where the old tuned model's own predictions are to
/// stand in their place, labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Feeds gradients, batch-norm statistics and fine-tuning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<String>,
    /// Selects step, alpha and method. Absent: 10 % of `train` is held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<String>,
    /// Judges the gate. Absent: validation is used, and the report says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocess: Option<Preprocess>,
}

/// Per-channel normalisation `(x − mean) / std`, one value a channel (or one for all).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    pub mean: Vec<f64>,
    pub std: Vec<f64>,
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    Identity,
    /// Closed-form fits of the function, layer by layer; needs inputs, and no labels.
    Functional,
    WeightMatching,
    Gmt,
    Fgmt,
    Gradfix,
    Bico,
    Theseus,
    Oracle,
}

impl Method {
    /// The name used in specifications, reports and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Functional => "functional",
            Self::WeightMatching => "weight_matching",
            Self::Gmt => "gmt",
            Self::Fgmt => "fgmt",
            Self::Gradfix => "gradfix",
            Self::Bico => "bico",
            Self::Theseus => "theseus",
            Self::Oracle => "oracle",
        }
    }

    /// What the method reads training samples for, in an error.
    pub fn needs(self) -> &'static str {
        match self {
            Self::Functional => "inputs of the task",
            _ => "gradients",
        }
    }

    /// Whether the method reads training samples.
    pub fn needs_data(self) -> bool {
        !matches!(self, Self::Identity | Self::WeightMatching)
    }

    /// Whether it reads their labels too.
    pub fn needs_labels(self) -> bool {
        self.needs_data() && !matches!(self, Self::Functional | Self::Theseus)
    }
}

/// `"auto"` or a list of methods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "\"auto\" or a list of: identity, functional, weight_matching, gmt, fgmt, gradfix, bico, theseus, oracle"
)]
pub enum Methods {
    #[default]
    #[serde(with = "auto")]
    Auto,
    Named(Vec<Method>),
}

/// The literal string `"auto"`.
mod auto {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("auto")
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "auto" => Ok(()),
            other => Err(D::Error::custom(format!(
                "\"auto\" or a list of methods, not {other:?}"
            ))),
        }
    }
}

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

/// The literal string `"by_group"`.
mod by_group {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("by_group")
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "by_group" => Ok(()),
            other => Err(D::Error::custom(format!("\"by_group\", not {other:?}"))),
        }
    }
}

/// The literal string `"search"`.
mod search {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("search")
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "search" => Ok(()),
            other => Err(D::Error::custom(format!(
                "\"search\" or a number, not {other:?}"
            ))),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    #[default]
    Sgd,
    Adamw,
}

/// The conditions under which the result may be published, judged on the test split. A result whose
/// learned parameters are still those of the new base fails every gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    #[serde(default)]
    pub metric: Metric,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_drop_from_source: Option<f64>,
    /// The share of test samples that the old tuned model gets right and the new one wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub max_negative_flips: Option<f64>,
    /// Another program judges too, after these conditions, before anything is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalGate>,
}

/// A judgement by another program. The result waits for it in a staging place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalGate {
    /// By which the evaluation is told.
    #[schema(min_length = 1, max_length = 80)]
    pub name: String,
    /// Without an answer by then the result is rejected.
    #[serde(default = "a_day")]
    #[schema(exclusive_minimum = 0, maximum = 8760)]
    pub deadline_hours: f64,
}

fn a_day() -> f64 {
    24.0
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of right predictions; needs labels.
    #[default]
    Accuracy,
    /// Share of predictions that are the old tuned model's.
    Agreement,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Callback {
    pub url: String,
}
