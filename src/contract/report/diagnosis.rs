//! How the two bases are related, and what `auto` made of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::candidate::LossBarrier;
use crate::contract::spec::Method;

/// The relation of old and new base.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Diagnosis {
    /// The bases differ in width: nothing of them can be compared entry by entry.
    pub across_widths: bool,
    /// The new base's learned tensors equal the old one's, bit for bit.
    pub identical_bases: bool,
    /// `‖θ_A^T − θ_A⁰‖ / ‖θ_A⁰‖`: how far the tuning went.
    pub relative_task_vector: Option<f64>,
    /// `θ_A⁰` against `θ_B⁰`.
    pub base_cosines: BaseCosines,
    /// What costs more than a look at the weights; null where methods are named, for nothing
    /// depends on it there.
    pub relation: Option<Relation>,
}

/// Cosines of the two bases' tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct BaseCosines {
    /// Over a layer's tensors together, by the prefix of their names; null where one side is zero.
    #[schema(value_type = Vec<Vec<serde_json::Value>>)]
    pub layers: Vec<(String, Option<f64>)>,
    /// Over all tensors.
    pub all: Option<f64>,
    /// Over tensors of two or more axes.
    pub matrices: Option<f64>,
}

/// What a matching of the two bases' weights adds, and what data add to that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Relation {
    /// Share of units that the weight-matching permutation leaves in their place.
    pub fixed_points: Option<f64>,
    /// On the segment between the bases; null without data, and where a base has no head.
    pub barrier: Option<LossBarrier>,
    /// Cosine of the bases' gradients; null without training data, and where a base has no head.
    pub gradient_cosine_at_identity: Option<f64>,
    /// The same after that permutation.
    pub gradient_cosine: Option<f64>,
}

/// One rung, taken or skipped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LadderStep {
    #[schema(value_type = Method)]
    pub method: String,
    pub taken: bool,
    pub reason: String,
    pub validation_accuracy: Option<f64>,
}
