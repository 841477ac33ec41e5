//! How the two bases are related, and what `auto` made of it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type},
    },
};

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
    /// What costs more than a look at the weights; null where `auto` came to an end without a matching of them,
    /// and where methods are named, for nothing depends on it there.
    pub relation: Option<Relation>,
}

/// Cosines of the two bases' tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct BaseCosines {
    /// Over a layer's tensors together, by the prefix of their names; null where one side is zero.
    pub layers: Vec<LayerCosine>,
    /// Over all tensors.
    pub all: Option<f64>,
    /// Over tensors of two or more axes.
    pub matrices: Option<f64>,
}

/// The cosine of one layer's tensors. In JSON it is a list of the two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "(String, Option<f64>)", into = "(String, Option<f64>)")]
pub struct LayerCosine {
    /// The prefix of the tensors' names.
    pub layer: String,
    /// Null where one side is zero.
    pub cosine: Option<f64>,
}

impl From<(String, Option<f64>)> for LayerCosine {
    fn from((layer, cosine): (String, Option<f64>)) -> Self {
        Self { layer, cosine }
    }
}

impl From<LayerCosine> for (String, Option<f64>) {
    fn from(of: LayerCosine) -> Self {
        (of.layer, of.cosine)
    }
}

// By hand: generators of clients do not read `items: false`, which the derive writes for a pair.
impl PartialSchema for LayerCosine {
    fn schema() -> RefOr<Schema> {
        let part = ObjectBuilder::new().schema_type(SchemaType::from_iter([
            Type::String,
            Type::Number,
            Type::Null,
        ]));

        ArrayBuilder::new()
            .items(part)
            .description(Some(
                "The prefix of a layer's tensors, and their cosine or null.",
            ))
            .max_items(Some(2))
            .min_items(Some(2))
            .into()
    }
}

impl ToSchema for LayerCosine {
    fn name() -> Cow<'static, str> {
        "LayerCosine".into()
    }
}

/// What a matching of the two bases' weights adds, and what data add to that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Relation {
    /// Share of units that the weight-matching permutation leaves in their place.
    pub fixed_points: Option<f64>,
    /// On the segment between the bases; null without `options.barrier`, without data, and where a base has no
    /// head.
    pub barrier: Option<LossBarrier>,
    /// Cosine of the bases' gradients; null where no method matched gradients, and where a base has no head.
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
    /// The method's candidate with an α for each group of layers, tried behind the last rung. Absent of the
    /// others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_group: bool,
    pub taken: bool,
    pub reason: String,
    /// On the validation samples that it has seen; its candidate says how many.
    pub validation_accuracy: Option<f64>,
    /// Of a validation split without labels. Absent where there are labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_agreement: Option<f64>,
    /// Of a regression alone, in the place of accuracy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_r2: Option<f64>,
    /// What the rung cost, its selection included; its seconds are in `timing.methods`.
    pub sample_gradients: u64,
    pub sample_forwards: u64,
}
