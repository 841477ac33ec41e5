//! What a transfer cost, in samples and operations.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Work done, in samples and in floating-point operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Cost {
    pub sample_gradients: u64,
    pub sample_forwards: u64,
    /// A gradient counts three forward passes.
    pub flops: f64,
}

/// What was spent, beside what one epoch of ordinary training would spend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CostSummary {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Cost>,
    /// What choosing took: evaluations of models that raced, and statistics for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer_sample_gradients: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_epoch_sample_gradients: Option<usize>,
    /// Null without training samples.
    pub transfer_over_one_epoch: Option<f64>,
    /// What other versions count.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
