//! A candidate of each method.
//!
//! Named methods all run; `auto` climbs the ladder as long as another candidate may be the better. Validation
//! samples choose, as few as show it.

mod climb;
mod groups;
mod selector;

use super::{
    comparison::{Candidates, Seen},
    context::Context,
    diagnose::Diagnosis,
    failure::Failure,
};
use crate::{
    contract::spec::{Alpha, Methods},
    engine::transfer::Method,
};
use selector::Selector;

/// One candidate per method. Progress counts within the phase of one method: validation samples seen while
/// `transferring`, and while `aligning` what each takes (see `align`).
pub fn run(context: &Context, diagnosis: &Diagnosis) -> Result<Candidates, Failure> {
    let before = context.cost();
    let mut selector = Selector::new(context);
    let ladder = match &context.job.spec.methods {
        Methods::Auto => Some(selector.climb(diagnosis)?),
        Methods::Named(methods) => {
            let gradfix_on = context.job.spec.options.gradfix_on.into();
            for method in methods {
                selector.add((*method).into(), gradfix_on)?;
            }
            None
        }
    };

    if context.job.spec.options.alpha == Alpha::ByGroup {
        selector.refine_best()?;
    }

    let matching = selector
        .alignments
        .found(Method::WeightMatching)
        .filter(|_| ladder.is_some());
    Ok(Candidates {
        weight_matching: matching.map(|aligned| aligned.alignment.clone()),
        cost: context.cost() - before,
        choosing: selector.choosing,
        tried: selector.tried,
        cpu_seconds: selector.cpu_seconds,
        ladder,
        seen: Seen {
            source_tuned: selector.old,
            target_before: selector.target,
        },
    })
}
