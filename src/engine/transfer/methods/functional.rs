//! `functional` as a method: from which start, and which layers, by agreement on inputs held back.
//!
//! Fits of the output layer alone and of every layer are tried, from the new base and, between bases of
//! one width, from the update as it is. Each is made without a fifth of the inputs; the one that diverges
//! least there from the old tuned model is made once more of all inputs.
//!
//! A large model's layers lie on a disk, and its time is what its forward passes take. Both rules are tried
//! from one start, the likelier by the bases' cosine, in one walk; the better one is the result.

mod cost;
mod fits;

use self::fits::{Chosen, Fits};
use crate::transfer::{
    alignment::Alignment, error::TransferError, evidence::FunctionalEvidence, functional::Fitted,
    problem::Problem, transport::Transport,
};

pub use cost::{LARGE, MAX_ACTIVATION_BYTES, MOST_SAMPLES, forwards, is_large, samples};

/// The fit of least divergence.
///
/// # Errors
/// When the caller interrupts or values overflow; without inputs.
pub fn align(problem: &Problem) -> Result<Alignment, TransferError> {
    let values = problem.target.iter().map(|(_, tensor)| tensor.len()).sum();
    align_sized(problem, is_large(values))
}

/// [`align`], the model large or not.
fn align_sized(problem: &Problem, is_large: bool) -> Result<Alignment, TransferError> {
    let fits = Fits::new(problem, is_large)?;
    let Chosen {
        trials,
        best,
        fitted,
        samples,
    } = if is_large {
        fits.one_run()?
    } else {
        fits.two_runs()?
    };
    let Fitted { model, layers } = fitted;

    let transport = Transport::from(model);
    Ok(Alignment {
        transports: vec![transport; problem.trajectory.timesteps()],
        functional: Some(FunctionalEvidence {
            samples,
            chosen: best,
            trials,
            layers,
        }),
        ..Alignment::default()
    })
}

#[cfg(test)]
mod tests;
