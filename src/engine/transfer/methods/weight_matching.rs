//! Weight matching: π that brings the two bases themselves closest together. Data-free.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Alignment, Evidence, certified, gradient_matching::group_evidence};
use crate::engine::{
    network::Checkpoint,
    symmetry::{Matcher, Permutation, Start},
    transfer::{Problem, TransferError, is_separable, learned},
};

pub fn align(problem: &Problem) -> Result<Alignment, TransferError> {
    match_pair(
        problem,
        learned(problem, problem.target),
        learned(problem, problem.trajectory.base()),
    )
}

/// One π from one pair of parameter sets, the better of an anchored start and the identity.
pub fn match_pair(
    problem: &Problem,
    target: Checkpoint,
    source: Checkpoint,
) -> Result<Alignment, TransferError> {
    problem.step(0, 1)?;
    let mut rng = ChaCha8Rng::seed_from_u64(problem.seed);
    let mut matcher = Matcher::new(problem.symmetry, problem.learner.device(), problem.ledger);
    matcher.push(target, source);
    let identity = Permutation::identity(problem.symmetry);
    let mut solution = matcher.solve(Start::From(&identity), &mut rng)?;
    if !is_separable(problem) {
        let anchored = matcher.solve(Start::Anchored, &mut rng)?;
        if anchored.objective > solution.objective {
            solution = anchored;
        }
    }
    problem.step(1, 1)?;
    let mut alignment = Alignment::constant(problem, &solution.permutation);
    alignment.evidence.push(Evidence {
        step: 1,
        objective: solution.objective,
        objective_at_identity: matcher.objective(&identity),
        bound: matcher.bound(),
        sweeps: solution.sweeps,
        certified_groups: certified(&solution),
    });
    alignment.groups = group_evidence(problem, &matcher, &solution);
    Ok(alignment)
}
