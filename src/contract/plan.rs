//! What `plan` answers: the check of a job by its files' headers, and an estimate of what it takes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{report::Network, spec::Method};

/// A job by its headers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// Values in the float tensors of the new base.
    pub parameters: usize,
    /// Points of the trajectory.
    pub timesteps: usize,
    /// Absent where it is a graph.
    #[serde(default, skip_serializing_if = "Network::is_graph")]
    pub network: Network,
    /// What computes here, by the settings: `cpu`, `gpu`, `gpu:0` or `software`.
    pub device: String,
    /// The least that the job holds in the GPU's memory; batches are as large as the rest allows. Absent where the CPU
    /// computes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_memory_bytes: Option<f64>,
    /// Groups of axes that are permuted together.
    pub groups: usize,
    /// Units of the largest group.
    pub largest_group: usize,
    pub samples: SampleCounts,
    /// Splits without labels: the old tuned model's predictions take their place. Absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlabelled: Vec<String>,
    pub methods: Vec<MethodPlan>,
    pub estimate: Estimate,
    pub speeds: Speeds,
    /// What the estimate takes for granted.
    pub assumptions: String,
}

/// Samples of each split; 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SampleCounts {
    pub train: usize,
    pub validation: usize,
    pub test: usize,
}

/// What one method's candidate takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MethodPlan {
    pub method: Method,
    pub sample_gradients: usize,
    pub sample_forwards: usize,
    pub flops: f64,
    /// The most that is held at once.
    pub memory_bytes: f64,
}

/// Time and memory on this machine. Phases, and everything without another word, are those of the most
/// that the job can take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Estimate {
    pub seconds: f64,
    /// Of the first rung of `auto` alone; the same as `seconds` where methods are named.
    pub seconds_least: f64,
    pub memory_bytes: f64,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub flops: f64,
    pub phases: Vec<PhasePlan>,
    pub memory_by_stage: Vec<StageMemory>,
}

/// What one phase takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PhasePlan {
    pub phase: String,
    pub seconds: f64,
    pub flops: f64,
    /// Read and written.
    pub bytes: f64,
}

/// What one stage holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StageMemory {
    pub stage: String,
    pub bytes: f64,
}

/// Seconds per unit of work on one machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Speeds {
    /// Changes with what is measured.
    pub version: u32,
    pub threads: usize,
    /// A FLOP of a gradient's matrix products.
    pub product: f64,
    /// A FLOP of a similarity's matrix products, which are larger.
    pub similarity: f64,
    /// A FLOP of convolutions.
    pub convolution: f64,
    /// An element of a gradient in single passes over slices.
    pub light: f64,
    /// The same where burn runs and differentiates it.
    pub heavy: f64,
    /// A node of a gradient, however small.
    pub node: f64,
    /// An element that is permuted and shifted.
    pub arithmetic: f64,
    /// An assignment of n units, by n².
    pub assignment: f64,
    /// A byte that is read, digested and checked.
    pub byte: f64,
}
