//! The methods: how each finds the permutation of every step.
//!
//! | name | source | needs |
//! |---|---|---|
//! | `identity` | task arithmetic (Ilharco et al., ICLR 2023) | nothing |
//! | `weight_matching` | Git Re-Basin (Ainsworth et al., ICLR 2023) | nothing |
//! | `gmt` | gradient matching along the trajectory (Chijiwa, ICLR 2024, algorithm 1) | gradients |
//! | `fgmt` | the same with every pair kept (algorithm 2) | gradients |
//! | `gradfix` | another method's update, masked by single samples' signs (ICLR 2026) | gradients |
//! | `bico` | orthogonal maps by layer, from inputs and output gradients (arXiv 2605.28444) | gradients |
//! | `theseus` | the same from inputs and outputs (ICML 2026) | samples |
//! | `oracle` | the same on the target's true trajectory; research only | a fine-tuned target |

pub mod gradfix;
pub mod gradient_matching;
pub mod layer_maps;
mod oracle;
mod weight_matching;

use serde::Serialize;

use super::{Problem, TransferError, Transport, options::Method};
use crate::engine::{
    learning::FineTunePlan,
    symmetry::{Fit, Permutation, Solution},
};
use gradfix::Mask;
use gradient_matching::Variant;
use layer_maps::{MapEvidence, Outputs};

/// What a method found: a transport for each step, and the evidence for it.
#[derive(Clone, Debug, Default)]
pub struct Alignment {
    /// `π_1 … π_T`, or what a method has in their place.
    pub transports: Vec<Transport>,
    /// One a solved step; none for a method that solves nothing.
    pub evidence: Vec<Evidence>,
    /// By group, at the last step; empty for a method that solves nothing.
    pub groups: Vec<GroupEvidence>,
    /// Of gradfix.
    pub mask: Option<Mask>,
    /// Of bico and theseus.
    pub maps: Option<MapEvidence>,
}

/// How well the tensors matched at one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    pub step: usize,
    /// Over the pairs so far, by group in the order of [`Alignment::groups`].
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

impl Alignment {
    /// The same permutation at every step.
    pub fn constant(problem: &Problem, permutation: &Permutation) -> Self {
        let transport = Transport::from(permutation.clone());
        let transports = vec![transport; problem.trajectory.timesteps()];
        Self { transports, ..Self::default() }
    }
}

/// The method whose alignment another builds upon: gradfix masks that of `gradfix_on`, bico and
/// theseus are completed by weight matching, unless the bases differ in width.
pub fn builds_on(method: Method, gradfix_on: Method, across_widths: bool) -> Option<Method> {
    match method {
        Method::Gradfix => Some(gradfix_on),
        Method::Bico | Method::Theseus if !across_widths => Some(Method::WeightMatching),
        _ => None,
    }
}

/// Runs one method, on the alignment of that which it builds upon. `oracle` fine-tunes the target
/// by `plan` first.
///
/// # Errors
/// When the caller interrupts or values overflow.
///
/// # Panics
/// For methods that lack their data: a checked specification has none; and without the alignment
/// of [`builds_on`].
pub fn align(
    method: Method,
    problem: &Problem,
    on: Option<&Alignment>,
    plan: Option<&FineTunePlan>,
) -> Result<Alignment, TransferError> {
    match method {
        Method::Identity => {
            Ok(Alignment::constant(problem, &Permutation::identity(problem.symmetry)))
        }
        Method::WeightMatching => weight_matching::align(problem),
        Method::Gmt => gradient_matching::align(problem, &Variant::GMT),
        Method::Fgmt => gradient_matching::align(problem, &Variant::FGMT),
        Method::Gradfix => {
            gradfix::align(problem, on.expect("the caller gives what the method builds upon"))
        }
        Method::Bico => layer_maps::align(problem, Outputs::Gradients, on),
        Method::Theseus => layer_maps::align(problem, Outputs::Activations, on),
        Method::Oracle => oracle::align(problem, plan.expect("a checked oracle has a budget")),
    }
}

impl Evidence {
    fn of(step: usize, solution: &Solution, fit: Fit, weight_anchor: Option<Fit>) -> Self {
        let certified_groups = solution.certificates.iter().flatten().count();
        Self { step, fit, weight_anchor, sweeps: solution.sweeps, certified_groups }
    }
}
