//! What a transfer took: the part of a report that no two runs have in common.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Named, lenient};

/// Seconds, memory and energy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Timing {
    #[serde(deserialize_with = "lenient::part")]
    pub wall_seconds: Option<f64>,
    /// Of all processors together.
    #[serde(deserialize_with = "lenient::part")]
    pub cpu_seconds: Option<f64>,
    /// Null where no graphics processor computes.
    #[serde(deserialize_with = "lenient::part")]
    pub gpu_seconds: Option<f64>,
    #[serde(deserialize_with = "lenient::part")]
    pub gpu_assumption: Option<String>,
    /// Phases up to the report, in the order in which they were entered.
    #[serde(deserialize_with = "lenient::part")]
    #[schema(value_type = BTreeMap<String, PhaseTime>)]
    pub by_phase: Named<PhaseTime>,
    /// Seconds by kind of work.
    #[serde(deserialize_with = "lenient::part")]
    #[schema(value_type = BTreeMap<String, f64>)]
    pub phases: Named<f64>,
    /// Seconds by method, with all that it builds upon.
    #[serde(deserialize_with = "lenient::part")]
    #[schema(value_type = BTreeMap<String, f64>)]
    pub methods: Named<f64>,
    #[serde(deserialize_with = "lenient::part")]
    #[schema(value_type = BTreeMap<String, f64>)]
    pub methods_cpu_seconds: Named<f64>,
    #[serde(deserialize_with = "lenient::part")]
    pub diagnosis_seconds: Option<f64>,
    #[serde(deserialize_with = "lenient::part")]
    pub few_shot_seconds: Option<f64>,
    #[serde(deserialize_with = "lenient::part")]
    pub fine_tune_only_seconds: Option<f64>,
    #[serde(deserialize_with = "lenient::part")]
    pub fine_tune_seconds: Option<f64>,
    /// Processor seconds of the winner over those of the job's own training.
    #[serde(deserialize_with = "lenient::part")]
    pub winner_over_training: Option<f64>,
    #[serde(deserialize_with = "lenient::part")]
    pub training: TrainingTimes,
    /// Where the permutation of the bases' weights came from; null where nobody asked the cache.
    #[serde(deserialize_with = "lenient::part")]
    pub weight_matching: Option<WeightMatchingOrigin>,
    /// Gradients that an earlier attempt had left.
    #[serde(deserialize_with = "lenient::part")]
    pub resumed_gradients: Option<usize>,
    /// Layers of fits that an earlier attempt had left.
    #[serde(deserialize_with = "lenient::part")]
    pub resumed_layers: Option<usize>,
    #[serde(deserialize_with = "lenient::part")]
    pub peak_memory_bytes: Option<u64>,
    /// `job`, or `process` where the system does not tell the job's own.
    #[serde(deserialize_with = "lenient::part")]
    pub peak_memory_of: String,
    #[serde(deserialize_with = "lenient::part")]
    pub energy: Energy,
}

/// Time and energy of one part of the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct PhaseTime {
    pub wall_seconds: f64,
    pub cpu_seconds: f64,
    pub joules: f64,
}

/// Of each training; null where there was none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TrainingTimes {
    pub fine_tune: Option<PhaseTime>,
    pub few_shot: Option<PhaseTime>,
    pub fine_tune_only: Option<PhaseTime>,
}

/// Where the permutation of the bases' weights came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct WeightMatchingOrigin {
    /// Solved by an earlier job.
    pub cached: bool,
    /// Begun by an attempt that did not live to end it.
    pub resumed: bool,
}

/// An estimate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Energy {
    pub joules: f64,
    pub assumption: String,
}
