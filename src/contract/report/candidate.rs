//! What each method gave, and the winner after its training.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{TouchUp, lenient};
use crate::contract::spec::Method;

/// Figures of one model on one split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Scores {
    /// Share of right answers, in [0, 1]: of several labels, and of an answer's ends, those samples that have all
    /// right.
    pub accuracy: Option<f64>,
    pub loss: Option<f64>,
    /// Share of the old tuned model's answers, in [0, 1], of a split without labels; of a regression R² beside its
    /// values. Absent where there are labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// Of a regression alone, in the place of accuracy: `1 − MSE / variance` of the labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// The validation samples that they rest on; absent on the test split, where it is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
}

impl Scores {
    /// Accuracy, or agreement where there are no labels, or R².
    pub fn share(&self) -> Option<f64> {
        self.accuracy.or(self.agreement).or(self.r2)
    }
}

impl StepScore {
    /// As [`Scores::share`].
    pub fn share(&self) -> Option<f64> {
        self.accuracy.or(self.agreement).or(self.r2)
    }
}

/// One method's best model, and how it was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = ReportCandidate)]
pub struct Candidate {
    #[serde(deserialize_with = "lenient::part")]
    #[schema(value_type = Method)]
    pub method: Option<String>,
    /// By validation, the winner's being 1; null without validation.
    #[serde(deserialize_with = "lenient::part")]
    pub rank: Option<usize>,
    /// The chosen step of the trajectory, from 1.
    #[serde(deserialize_with = "lenient::part")]
    pub step: Option<usize>,
    #[serde(deserialize_with = "lenient::part")]
    pub alpha: Option<f64>,
    #[serde(deserialize_with = "lenient::part")]
    pub orthogonal_shift: bool,
    #[serde(deserialize_with = "lenient::part")]
    pub validation: Option<Scores>,
    #[serde(deserialize_with = "lenient::part")]
    pub test: Option<Scores>,
    #[serde(deserialize_with = "lenient::part")]
    pub last_step: Option<StepScore>,
    /// Validation by step, at α = 1: of the steps that were looked at.
    #[serde(deserialize_with = "lenient::items")]
    pub steps: Vec<StepScore>,
    /// Validation by α, at the chosen step: of those that were looked at.
    #[serde(deserialize_with = "lenient::items")]
    pub alphas: Vec<AlphaScore>,
    /// Share of units that the permutation leaves in their place; null where there is no permutation.
    #[serde(deserialize_with = "lenient::part")]
    pub fixed_points: Option<f64>,
    #[serde(deserialize_with = "lenient::part")]
    pub mask: Option<SignMask>,
    /// The method whose alignment this one's builds upon.
    #[serde(deserialize_with = "lenient::part")]
    #[schema(value_type = Option<Method>)]
    pub builds_on: Option<String>,
    #[serde(deserialize_with = "lenient::part")]
    pub maps: Option<LayerMaps>,
    #[serde(
        deserialize_with = "lenient::part",
        skip_serializing_if = "Option::is_none"
    )]
    pub functional: Option<FunctionalFits>,
    /// Where an α was searched for each group of layers. Absent elsewhere.
    #[serde(
        deserialize_with = "lenient::part",
        skip_serializing_if = "Option::is_none"
    )]
    pub by_group: Option<AlphasByGroup>,
    #[serde(deserialize_with = "lenient::items")]
    pub matching: Vec<MatchedStep>,
    #[serde(deserialize_with = "lenient::items")]
    pub groups: Vec<GroupMatch>,
    #[serde(deserialize_with = "lenient::part")]
    pub sample_gradients: Option<u64>,
    #[serde(deserialize_with = "lenient::part")]
    pub sample_forwards: Option<u64>,
    #[serde(deserialize_with = "lenient::part")]
    pub flops: Option<f64>,
}

/// Validation figures of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct StepScore {
    pub step: Option<usize>,
    pub accuracy: Option<f64>,
    pub loss: Option<f64>,
    /// Absent where there are labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// Of a regression alone, in the place of accuracy: `1 − MSE / variance` of the labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// Samples that they rest on.
    pub samples: Option<usize>,
}

/// Validation figures of one α.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AlphaScore {
    pub alpha: Option<f64>,
    pub accuracy: Option<f64>,
    pub loss: Option<f64>,
    /// Absent where there are labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// Of a regression alone, in the place of accuracy: `1 − MSE / variance` of the labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// Samples that they rest on.
    pub samples: Option<usize>,
}

/// Of gradfix: the vote of single samples' gradients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SignMask {
    /// Samples that voted.
    pub samples: usize,
    /// Share of the update's squared norm that was kept, at the last step.
    pub kept: Option<f64>,
    /// Mean loss of the new base on them; that of guessing is `ln(classes)`, of values their variance.
    pub loss: Option<f64>,
    pub loss_of_guessing: Option<f64>,
}

/// One α for each kind of layer in each third of the depth; in a network without attention for each layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AlphasByGroup {
    #[serde(deserialize_with = "lenient::items")]
    pub alphas: Vec<GroupAlpha>,
    /// Training samples of the search.
    pub samples: usize,
    /// Rounds of Gauss–Newton.
    pub rounds: usize,
    /// Mean loss on these samples, with one α for all.
    pub loss_before: Option<f64>,
    /// The same with these.
    pub loss: Option<f64>,
    /// Validation says that it is better: it is the candidate.
    pub taken: bool,
}

/// The α of one group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GroupAlpha {
    pub group: String,
    pub alpha: Option<f64>,
}

/// Of functional: the fit that was made, and what stood against it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct FunctionalFits {
    /// Inputs of the fit.
    pub samples: usize,
    /// The position in `trials` of the fit that was made of all inputs: the one of least divergence.
    pub chosen: usize,
    #[serde(deserialize_with = "lenient::items")]
    pub trials: Vec<FunctionalTrial>,
    /// By layer, in the order of their fits.
    #[serde(deserialize_with = "lenient::items")]
    pub layers: Vec<FittedLayer>,
}

/// A fit beside the old tuned model, on inputs that were held back from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct FunctionalTrial {
    /// `new_base`, or `identity`: the new base with the old update added as it is.
    pub start: String,
    /// `head`: the output layer alone; `every`: every layer.
    pub layers: String,
    /// Share of predictions that are the old tuned model's, in [0, 1]; of a regression R² beside its values.
    pub agreement: Option<f64>,
    /// Mean Kullback–Leibler divergence from its predictions, in nats; of a regression the mean squared difference.
    pub divergence: Option<f64>,
}

/// One layer that was fitted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct FittedLayer {
    /// Prefix of its tensors.
    pub layer: String,
    /// Samples × positions.
    pub rows: usize,
    /// The ridge, in units of the mean square of a row.
    pub ridge: Option<f64>,
    /// Share of what was missing that is still missing on rows that were held back.
    pub left: Option<f64>,
}

/// Of bico and theseus: maps by layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LayerMaps {
    /// Samples that were looked at.
    pub samples: usize,
    /// Places of the network that have a map.
    pub maps: usize,
    /// Those that the samples did not span.
    pub completed: usize,
}

/// How well two sets of tensors match, over all groups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Fit {
    /// `Σ⟨target, π source⟩`
    pub objective: Option<f64>,
    /// The same at the identity.
    pub objective_at_identity: Option<f64>,
    /// `Σ‖target‖‖source‖`; objective / bound is a mean cosine.
    pub bound: Option<f64>,
    /// By group, before any permutation.
    pub cosines_at_identity: Vec<Option<f64>>,
    /// By group, of target and permuted source.
    pub cosines: Vec<Option<f64>>,
}

/// How well the tensors matched at one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct MatchedStep {
    pub step: usize,
    /// Over the pairs so far.
    #[serde(flatten)]
    pub fit: Fit,
    /// That of the bases' own parameters, where they settle what gradients leave open.
    pub weight_anchor: Option<Fit>,
    pub sweeps: usize,
    /// Groups whose permutation is proved optimal given the others.
    pub certified_groups: usize,
}

/// How well one group's tensors match, over all pairs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GroupMatch {
    pub group: String,
    pub units: usize,
    pub cosine_at_identity: Option<f64>,
    pub cosine: Option<f64>,
    /// `row_maxima`, `dual`, or null where the objective is quadratic in the permutation.
    pub certificate: Option<String>,
    /// Units that stay in their place.
    pub fixed_points: usize,
}

/// One epoch of training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = ReportEpoch)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    pub train_loss: Option<f64>,
    pub validation_loss: Option<f64>,
    pub validation_accuracy: Option<f64>,
    /// Absent where there are labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_agreement: Option<f64>,
    /// Of a regression alone, in the place of accuracy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_r2: Option<f64>,
}

/// The winner after its training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct FineTuned {
    /// It is the result: validation does not speak against it.
    pub chosen: bool,
    /// `finished`, `target_reached`, `out_of_patience` or `interrupted`.
    pub end: String,
    #[serde(deserialize_with = "lenient::items")]
    pub epochs: Vec<Epoch>,
    #[serde(deserialize_with = "lenient::part")]
    pub validation: Option<Scores>,
    #[serde(deserialize_with = "lenient::part")]
    pub test: Option<Scores>,
    /// Between the transferred model and this one.
    #[serde(deserialize_with = "lenient::part")]
    pub barrier: Option<LossBarrier>,
    #[serde(deserialize_with = "lenient::part")]
    pub sample_gradients: Option<u64>,
    #[serde(deserialize_with = "lenient::part")]
    pub flops: Option<f64>,
    /// What was done beside plain steps. Absent where nothing was.
    #[serde(
        deserialize_with = "lenient::part",
        skip_serializing_if = "Option::is_none"
    )]
    pub touch_up: Option<TouchUp>,
}

/// The loss on the segment between two models.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LossBarrier {
    /// How far it rises above the chord, never below 0.
    pub height: Option<f64>,
    /// At α = 0, 1/24, … 1.
    pub losses: Vec<Option<f64>>,
}
