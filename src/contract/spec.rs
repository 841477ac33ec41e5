//! The job specification: what `POST /v1/transfers`, `retune transfer` and `retune plan` accept.
//!
//! One type for API, command line and pipeline, so that they cannot disagree. Reading happens in
//! two steps: [`Spec::from_json`] checks form (types, unknown fields, ranges, combinations) and
//! names every fault by a JSON pointer; whether the locations exist and may be read is for
//! `storage` and `pipeline::plan` to say.

mod check;
mod fine_tune;
mod gate;
mod methods;
pub mod objects;
mod options;
mod schema;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use check::{Fault, MAX_TEXT_BYTES, SpecError, check_gate_name};
pub use fine_tune::{FineTune, Labels, LearningRate};
pub use gate::{ExternalGate, Gate, Metric};
pub use methods::{Method, Methods};
pub use options::{
    Alpha, Head, Options, Schedule, Selection, Step, TrajectoryKind, Update, UpdateFormat,
};

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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    #[default]
    Sgd,
    Adamw,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Callback {
    pub url: String,
}
