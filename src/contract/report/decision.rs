//! The decision, in plain words for whoever pays.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::lenient;
use crate::contract::outcome::Recommendation;

/// What to do with the result, and why, without the field's terms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Decision {
    /// As `recommendation.action`.
    #[serde(deserialize_with = "lenient::part")]
    pub action: Option<Recommendation>,
    /// What was found.
    #[serde(deserialize_with = "lenient::part")]
    pub sentence: String,
    /// Right answers lost among 100, against the old tuned model; below zero where there are more. Null where
    /// nothing was measured or there are no labels.
    #[serde(deserialize_with = "lenient::part")]
    pub accuracy_lost_per_100: Option<f64>,
    /// How sure the sentence is, in [0, 1]: one-sided for a bound on the loss.
    #[serde(deserialize_with = "lenient::part")]
    pub confidence: f64,
    /// The samples that it rests on.
    #[serde(deserialize_with = "lenient::part")]
    pub checked_on: String,
    #[serde(deserialize_with = "lenient::part")]
    pub next_step: String,
    /// What the transfer took, beside training.
    #[serde(deserialize_with = "lenient::part")]
    pub price: String,
    /// Of `collect`: how many more disagreements in the present proportion would tell the two models apart; null
    /// where they are even, and no number would.
    #[serde(deserialize_with = "lenient::part")]
    pub needed_disagreements: Option<u64>,
    /// Of `collect`: how many samples in all would show at the present rates that no more than a point is lost;
    /// null where none would.
    #[serde(deserialize_with = "lenient::part")]
    pub needed_samples: Option<u64>,
}
