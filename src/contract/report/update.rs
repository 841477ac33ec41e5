//! The update as an adapter.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The adapter beside the model, and what it leaves out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UpdateSummary {
    /// `lora`
    pub format: String,
    pub rank: usize,
    /// Values in all tensors of the adapter.
    pub parameters: usize,
    /// By layer that was truncated.
    pub tensors: Vec<TruncatedTensor>,
    /// Modules that are saved whole.
    pub whole: Vec<String>,
    /// Tensors that have changed and that no adapter can hold.
    pub left_out: Vec<String>,
}

/// What a truncation loses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TruncatedTensor {
    pub tensor: String,
    /// Norm of what is left out over the norm of the update.
    pub relative_error: f64,
}
