//! The conditions under which a result may be published.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// Share of predictions that are the old tuned model's; of a regression R², its values in the place of labels.
    Agreement,
    /// Of a regression: the share of the values' variance that a model explains, `1 − MSE / variance`; needs labels.
    R2,
}
