//! `GradFix` (ICLR 2026): of an update, only what a few labelled samples would do too.
//!
//! `m_i = 1{sign τ_i = −sign Σ_n sign ∇ℓ_n(θ_B⁰)_i}` over single samples, ties out. The votes are
//! taken in the target's coordinates, so they mask `π τ` of any method. They mean something only
//! where the target knows the task: with an untrained head its loss is that of guessing.

use std::sync::Arc;

use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;

use crate::{
    profiler::Work,
    tensors::Checkpoint,
    transfer::{
        alignment::Alignment, error::TransferError, evidence::Mask, problem::Problem,
        transport::Transport,
    },
};

/// Another method's alignment, masked.
///
/// # Errors
/// When the caller interrupts; without training data, or where `on` has no step.
pub fn align(problem: &Problem, on: &Alignment) -> Result<Alignment, TransferError> {
    problem.step(0, 1)?;
    let train = problem.training_samples()?;
    let learner = problem.learner;
    let mut rng = ChaCha8Rng::seed_from_u64(problem.seed);
    let samples = problem.batch_size.min(train.len());
    let positions = index::sample(&mut rng, train.len(), samples).into_vec();

    // α = 0: the target, with the head that the problem asks for.
    let last = on.transports.last().ok_or(TransferError::NoAlignment)?;
    let start = problem.carried(last, problem.trajectory.timesteps(), 0.0);
    let votes = problem.profiler.time(Work::Gradients, || {
        Arc::new(learner.sign_votes(&start, train, &positions))
    });
    let voters = train.subset(&positions);
    let loss = learner.evaluate(&start, &voters).loss;
    problem.step(1, 1)?;

    let transports: Vec<Transport> = on
        .transports
        .iter()
        .map(|transport| transport.clone().masked(Arc::clone(&votes)))
        .collect();
    let whole = squared_length(problem, &start, last);
    let kept = match transports.last() {
        Some(masked) if whole > 0.0 => squared_length(problem, &start, masked) / whole,
        _ => 0.0,
    };
    let loss_of_guessing = learner.loss_of_guessing(&voters);
    let mask = Some(Mask {
        samples,
        kept,
        loss,
        loss_of_guessing,
    });

    Ok(Alignment {
        transports,
        mask,
        ..on.clone()
    })
}

/// Squared norm of the last step's update, from the target `start`.
fn squared_length(problem: &Problem, start: &Checkpoint, transport: &Transport) -> f64 {
    let end = problem.carried(transport, problem.trajectory.timesteps(), 1.0);
    start
        .iter()
        .map(|(name, tensor)| end[name].squared_distance(tensor))
        .sum()
}
