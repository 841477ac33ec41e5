//! What was read, and how it was brought together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::lenient;

/// A head that only the tuned model has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct HeadAdopted {
    /// Tensors taken from the tuned model.
    pub adopted: Vec<String>,
    /// Tensors of a base's own head that the result does not have.
    pub left_out: Vec<String>,
}

/// Classes or tokens that the models number differently.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RowsShared {
    /// `classes` or `vocabulary`.
    pub axis: String,
    /// Tensors whose first axis it is.
    pub tensors: Vec<String>,
    /// Rows of the old models.
    pub source: usize,
    /// Rows of the new base.
    pub target: usize,
    /// Rows that both have.
    pub shared: usize,
    /// Rows that the tuning added, with their texts where they are known.
    pub own: BTreeMap<usize, Option<String>>,
}

/// Samples in each split; null for a split that there is not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SplitSizes {
    pub train: Option<usize>,
    pub validation: Option<usize>,
    pub test: Option<usize>,
    pub validation_held_out_of_train: bool,
    pub test_is_validation: bool,
    /// Splits without labels, on which a model is measured by its agreement with the old tuned model. Absent
    /// where there are none.
    #[serde(
        deserialize_with = "lenient::items",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub unlabelled: Vec<String>,
}

impl SplitSizes {
    /// Whether models are measured by agreement on this split.
    pub fn lacks_labels(&self, split: &str) -> bool {
        self.unlabelled.iter().any(|name| name == split)
    }
}
