//! Weight matching: π that brings the two bases themselves closest together. Data-free, and the same
//! whatever the job's seed: it belongs to the pair of bases. After every group the caller is asked
//! whether to go on, and how far it is is saved: large models take minutes.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{
    symmetry::{Kind, Matcher, Permutation, Stage, Stages, Start},
    tensors::Checkpoint,
    transfer::{
        alignment::Alignment,
        error::TransferError,
        evidence::{Evidence, GroupEvidence, certificate_names},
        problem::Problem,
        products::executor_of_products,
        resume_point::OnePerRun,
    },
};

/// Of the order in which groups are visited.
const SEED: u64 = 0;

pub fn align(problem: &Problem) -> Result<Alignment, TransferError> {
    let target = problem.learned(problem.target);
    let source = problem.learned(problem.trajectory.base());
    match_pair(problem, SEED, target, source)
}

/// One π from one pair of parameter sets, descending from the better of the identity and the
/// anchored start.
pub fn match_pair(
    problem: &Problem,
    seed: u64,
    target: Checkpoint,
    source: Checkpoint,
) -> Result<Alignment, TransferError> {
    problem.step(0, 1)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let executor = executor_of_products(problem.learner, problem.symmetry);
    let mut matcher = Matcher::new(problem.symmetry, &executor, problem.profiler);
    matcher.push(Kind::Matched, target, source);

    let identity = Permutation::identity(problem.symmetry);
    let stages = Stages {
        from: problem.stores.descent.load(OnePerRun),
        on_stage: &|stage: &Stage| {
            problem.stores.descent.save(OnePerRun, stage);
            problem.step(0, 1)
        },
    };

    let solution = matcher.solve_in_stages(Start::Best(&[&identity]), &mut rng, stages)?;
    problem.step(1, 1)?;

    let mut alignment = Alignment::constant(problem, &solution.permutation);
    let fit = matcher.fit(Kind::Matched, &solution).unwrap_or_default();
    let proofs = certificate_names(&solution);
    alignment.groups = GroupEvidence::of(problem.symmetry, &fit, &solution.permutation, &proofs);
    alignment
        .evidence
        .push(Evidence::of(1, &solution, fit, None));
    Ok(alignment)
}
