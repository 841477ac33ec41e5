//! Which methods a job runs, and which of their candidates is the best.

use super::Candidate;
use crate::spec::{Method, Methods};

/// The methods a job runs, in order. `auto` is identity and weight matching, and with training data
/// FGMT.
pub fn methods(wanted: &Methods, has_train: bool) -> Vec<Method> {
    match wanted {
        Methods::Named(methods) => methods.clone(),
        Methods::Auto if has_train => vec![Method::Identity, Method::WeightMatching, Method::Fgmt],
        Methods::Auto => vec![Method::Identity, Method::WeightMatching],
    }
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
