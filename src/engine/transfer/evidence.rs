//! What a report says of an alignment.

use serde::Serialize;

use super::{
    by_group::GroupAlphas,
    functional::{FunctionalTrial, LayerFit},
};
use crate::symmetry::{Fit, Permutation, Solution, Symmetry, assignment::Certificate};

/// How well the tensors matched at one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    pub step: usize,
    /// Over the pairs so far, by group in the order of [`Alignment::groups`](super::Alignment).
    #[serde(flatten)]
    pub fit: Fit,
    /// That of the bases' own parameters, where they settle what gradients leave open; `fit` is
    /// without them.
    pub weight_anchor: Option<Fit>,
    pub sweeps: usize,
    /// Groups whose σ is proved optimal given the others.
    pub certified_groups: usize,
}

/// How well one group's tensors match, over all pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupEvidence {
    pub group: String,
    pub units: usize,
    /// Cosine of target and source before any permutation.
    pub cosine_at_identity: f64,
    /// Cosine of target and permuted source.
    pub cosine: f64,
    /// `row_maxima`, `dual`, or null where the objective is quadratic in σ.
    pub certificate: Option<&'static str>,
    /// Units that stay in their place.
    pub fixed_points: usize,
}

/// What gradfix's votes left of an update.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mask {
    /// Samples that voted.
    pub samples: usize,
    /// Share of the update's squared norm that was kept, at the last step.
    pub kept: f64,
    /// Mean loss of the target on them before the transfer; that of guessing is `ln(classes)`.
    pub loss: f64,
    pub loss_of_guessing: f64,
}

/// How well the samples determined the maps of bico and theseus.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MapEvidence {
    /// Samples that were looked at.
    pub samples: usize,
    /// Places of the graph that have a map.
    pub maps: usize,
    /// Those that the samples did not span: completed by the weight-matching π, or between different
    /// widths left without the directions that no sample shows.
    pub completed: usize,
}

/// One α for each group of layers, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlphasByGroup {
    /// By name.
    pub alphas: Vec<(String, f64)>,
    /// Training samples of the search.
    pub samples: usize,
    pub rounds: usize,
    /// Mean cross-entropy on them, with one α for all and with these.
    pub loss_before: f64,
    pub loss: f64,
    /// The samples that choose say that it is better: it is the candidate.
    pub taken: bool,
}

impl AlphasByGroup {
    /// What a search found.
    pub fn of(found: &GroupAlphas, samples: usize, taken: bool) -> Self {
        let GroupAlphas {
            alphas,
            loss_before,
            loss,
            rounds,
            ..
        } = found;
        Self {
            alphas: alphas.clone(),
            samples,
            rounds: *rounds,
            loss_before: *loss_before,
            loss: *loss,
            taken,
        }
    }
}

/// Which fit `functional` made, and what stood against it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FunctionalEvidence {
    /// Inputs of the fit.
    pub samples: usize,
    /// The position of the one that was made in full.
    pub chosen: usize,
    pub trials: Vec<FunctionalTrial>,
    /// Of the fit in full.
    pub layers: Vec<LayerFit>,
}

impl Evidence {
    pub(super) fn of(
        step: usize,
        solution: &Solution,
        fit: Fit,
        weight_anchor: Option<Fit>,
    ) -> Self {
        let certified_groups = solution.certificates.iter().flatten().count();
        Self {
            step,
            fit,
            weight_anchor,
            sweeps: solution.sweeps,
            certified_groups,
        }
    }
}

impl GroupEvidence {
    /// One for each group of the symmetry.
    pub(super) fn of(
        symmetry: &Symmetry,
        fit: &Fit,
        permutation: &Permutation,
        certificates: &[Option<&'static str>],
    ) -> Vec<Self> {
        symmetry
            .groups
            .iter()
            .enumerate()
            .map(|(index, group)| Self {
                group: group.name.clone(),
                units: group.units,
                cosine_at_identity: fit.cosines_at_identity[index],
                cosine: fit.cosines[index],
                certificate: certificates[index],
                fixed_points: (0u32..)
                    .zip(permutation.sigma(index))
                    .filter(|(j, i)| j == *i)
                    .count(),
            })
            .collect()
    }
}

/// A solution's certificates by group, as reports name them.
pub(super) fn certificate_names(solution: &Solution) -> Vec<Option<&'static str>> {
    solution
        .certificates
        .iter()
        .map(|certificate| certificate.map(Certificate::name))
        .collect()
}
