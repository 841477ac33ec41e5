//! Runs methods one after another and ranks their candidates.

use super::{
    Candidate, Problem, TransferError,
    candidate::{Selection, select},
    methods::align,
};
use crate::{
    engine::learning::FineTunePlan,
    spec::{Method, Methods},
};

/// The methods a job runs, in order. `auto` is identity and weight matching, and with training data
/// FGMT.
pub fn methods(wanted: &Methods, has_train: bool) -> Vec<Method> {
    match wanted {
        Methods::Named(methods) => methods.clone(),
        Methods::Auto if has_train => vec![Method::Identity, Method::WeightMatching, Method::Fgmt],
        Methods::Auto => vec![Method::Identity, Method::WeightMatching],
    }
}

/// One method from alignment to candidate, with what it spent.
///
/// # Errors
/// When the caller interrupts or values overflow.
pub fn run(
    method: Method,
    problem: &Problem,
    selection: Selection,
    plan: Option<&FineTunePlan>,
) -> Result<Candidate, TransferError> {
    let (cost, start) = (problem.learner.cost(), problem.ledger.now());
    let alignment = align(method, problem, plan)?;
    let mut candidate = select(method, problem, alignment, selection)?;
    candidate.cost = problem.learner.cost() - cost;
    candidate.seconds = problem.ledger.now() - start;
    Ok(candidate)
}

/// The best candidate by validation accuracy, then loss, then order. Without validation the last
/// one: methods are named from the plainest to the most informed.
pub fn best(candidates: &[Candidate]) -> Option<usize> {
    let better = |a: &Candidate, b: &Candidate| match (&a.validation, &b.validation) {
        (Some(a), Some(b)) => {
            a.accuracy > b.accuracy
                || (a.accuracy.to_bits() == b.accuracy.to_bits() && a.loss < b.loss)
        }
        _ => true,
    };
    (0..candidates.len())
        .reduce(|best, i| if better(&candidates[i], &candidates[best]) { i } else { best })
}
