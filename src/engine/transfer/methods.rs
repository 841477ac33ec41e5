//! The methods: how each finds the permutation of every step.
//!
//! | name | source | needs |
//! |---|---|---|
//! | `identity` | task arithmetic (Ilharco et al., ICLR 2023) | nothing |
//! | `functional` | closed-form fits of the function, layer by layer (ours) | inputs |
//! | `weight_matching` | Git Re-Basin (Ainsworth et al., ICLR 2023) | nothing |
//! | `gmt` | gradient matching along the trajectory (Chijiwa, ICLR 2024, algorithm 1) | gradients |
//! | `fgmt` | the same with every pair kept (algorithm 2) | gradients |
//! | `gradfix` | another method's update, masked by single samples' signs (ICLR 2026) | gradients |
//! | `bico` | orthogonal maps by layer, from inputs and output gradients (arXiv 2605.28444) | gradients |
//! | `theseus` | the same from inputs and outputs (ICML 2026) | samples |
//! | `oracle` | the same on the target's true trajectory; research only | a fine-tuned target |

pub mod functional;
pub mod gradfix;
pub mod gradient_matching;
pub mod layer_maps;
mod oracle;
mod weight_matching;

use super::{alignment::Alignment, error::TransferError, options::Method, problem::Problem};
use crate::{symmetry::Permutation, training::FineTunePlan};
use gradient_matching::Variant;
use layer_maps::Outputs;

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
/// When the caller interrupts, values overflow, or a method lacks its data, its `plan` or the alignment of
/// [`builds_on`].
pub fn align(
    method: Method,
    problem: &Problem,
    on: Option<&Alignment>,
    plan: Option<&FineTunePlan>,
) -> Result<Alignment, TransferError> {
    match method {
        Method::Identity => Ok(Alignment::constant(
            problem,
            &Permutation::identity(problem.symmetry),
        )),
        Method::Functional => functional::align(problem),
        Method::WeightMatching => weight_matching::align(problem),
        Method::Gmt => gradient_matching::align(problem, &Variant::GMT),
        Method::Fgmt => gradient_matching::align(problem, &Variant::FGMT),
        Method::Gradfix => gradfix::align(problem, on.ok_or(TransferError::NoAlignment)?),
        Method::Bico => layer_maps::align(problem, Outputs::Gradients, on),
        Method::Theseus => layer_maps::align(problem, Outputs::Activations, on),
        Method::Oracle => oracle::align(problem, plan.ok_or(TransferError::NoFineTunePlan)?),
    }
}
