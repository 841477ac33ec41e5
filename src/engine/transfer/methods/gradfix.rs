//! `GradFix` (ICLR 2026): of an update, only what a few labelled samples would do too.
//!
//! `m_i = 1{sign τ_i = −sign Σ_n sign ∇ℓ_n(θ_B⁰)_i}` over single samples, ties out. The votes are
//! taken in the target's coordinates, so they mask `π τ` of any method. They mean something only
//! where the target knows the task: with an untrained head its loss is that of guessing.

use std::sync::Arc;

use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::Alignment;
use crate::engine::{
    profiler::Work,
    transfer::{Problem, TransferError, Transport},
};

/// What the votes left of an update.
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

/// Another method's alignment, masked.
///
/// # Errors
/// When the caller interrupts.
///
/// # Panics
/// Without training data.
pub fn align(problem: &Problem, on: &Alignment) -> Result<Alignment, TransferError> {
    problem.step(0, 1)?;
    let train = problem.train.expect("a checked specification gives gradfix data");
    let learner = problem.learner;
    let mut rng = ChaCha8Rng::seed_from_u64(problem.seed);
    let samples = problem.batch_size.min(train.len());
    let positions = index::sample(&mut rng, train.len(), samples).into_vec();
    let last = on.transports.last().expect("there is a step");
    let timesteps = problem.trajectory.timesteps();
    // α = 0: the target, with the head that the problem asks for.
    let start = problem.carried(last, timesteps, 0.0);
    let votes = problem
        .ledger
        .time(Work::Gradients, || Arc::new(learner.sign_votes(&start, train, &positions)));
    let loss = learner.evaluate(&start, &train.subset(&positions)).loss;
    problem.step(1, 1)?;
    let masked = |transport: &Transport| transport.clone().masked(Arc::clone(&votes));
    let transports: Vec<Transport> = on.transports.iter().map(masked).collect();
    let length = |transport| {
        let end = problem.carried(transport, timesteps, 1.0);
        let square = |a: f32, b: f32| (f64::from(a) - f64::from(b)).powi(2);
        start.iter().map(|(name, t)| end[name].sums(t, square)).sum::<f64>()
    };
    let whole = length(last);
    let kept = if whole > 0.0 { length(&masked(last)) / whole } else { 0.0 };
    let loss_of_guessing = (learner.classes() as f64).ln();
    let mask = Some(Mask { samples, kept, loss, loss_of_guessing });
    Ok(Alignment { transports, mask, ..on.clone() })
}
