//! The oracle: fine-tunes the target first and matches π on the true differences. It costs what a
//! transfer is meant to save and shows what a perfect alignment would give (section 4.1).

use std::ops::ControlFlow;

use super::weight_matching::match_pair;
use crate::{
    profiler::Work,
    tensors::Checkpoint,
    training::{End, Event, FineTunePlan},
    transfer::{alignment::Alignment, error::TransferError, problem::Problem},
};

pub fn align(problem: &Problem, plan: &FineTunePlan) -> Result<Alignment, TransferError> {
    let train = problem.training_samples()?;
    let mut observe = |event: Event| match event {
        Event::Step { done, total, .. } => (problem.go_on)(done, total),
        Event::Epoch(_) => ControlFlow::Continue(()),
    };
    let tuned = problem.profiler.time(Work::FineTuning, || {
        problem
            .learner
            .fine_tune(problem.target, train, plan, &mut observe)
    });

    if tuned.end == End::Interrupted {
        return Err(TransferError::Interrupted);
    }

    let target = difference(&problem.learned(problem.target), &tuned.checkpoint);
    let base = problem.learned(problem.trajectory.base());
    let source = difference(&base, problem.trajectory.tuned());
    match_pair(problem, problem.seed, target, source)
}

/// `to − from`, tensor by tensor, f32.
fn difference(from: &Checkpoint, to: &Checkpoint) -> Checkpoint {
    from.iter()
        .map(|(name, from)| (name.to_owned(), to[name].minus(from)))
        .collect()
}
