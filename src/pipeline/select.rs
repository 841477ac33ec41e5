//! A candidate of each method, and the best of them.
//!
//! Named methods all run; `auto` climbs the ladder as long as another candidate may be the better. Validation
//! samples choose, as few as show it; the test split is measured here and chooses nothing.

mod climb;
mod groups;
mod selector;

use std::ops::ControlFlow;

use super::{
    baselines,
    comparison::{Candidates, Choice, Seen},
    context::Context,
    diagnose::Diagnosed,
    failure::Failure,
};
use crate::{
    contract::{
        codes::FailureCode,
        spec::{Alpha, Methods},
    },
    engine::transfer::{Candidate, Method, ladder},
};
use selector::Selector;

/// One candidate per method. Progress counts within the phase of one method: validation samples seen while
/// `transferring`, and while `aligning` what each takes (see `align`).
pub fn run(context: &Context, diagnosed: &Diagnosed) -> Result<Candidates, Failure> {
    let before = context.cost();
    let mut selector = Selector::new(context);
    let ladder = match &context.job.spec.methods {
        Methods::Auto => Some(selector.climb(&diagnosed.diagnosis)?),
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

/// Chooses by validation, finishes the chosen candidate, and measures on the test split: every candidate
/// where methods were named, and under `auto` the chosen one.
pub fn best(context: &Context, candidates: Candidates) -> Result<Choice, Failure> {
    let Candidates {
        mut tried,
        cpu_seconds,
        cost,
        choosing,
        ladder,
        seen,
        ..
    } = candidates;
    let chosen = ladder::best(&tried).ok_or_else(|| Failure::Internal {
        code: FailureCode::NoCandidate,
        detail: "no method gave a candidate".into(),
    })?;
    finish(context, &mut tried[chosen])?;

    let test = context.inputs.splits.test.as_ref();
    let tests = tried
        .iter()
        .enumerate()
        .map(|(at, candidate)| {
            let data = test.filter(|_| ladder.is_none() || at == chosen);
            data.map(|data| context.evaluate(&candidate.model, data))
        })
        .collect();
    Ok(Choice {
        candidates: tried,
        cpu_seconds,
        cost,
        choosing,
        ladder,
        chosen,
        tests,
        seen,
    })
}

/// Gives the chosen candidate the running statistics of a result, and its figures on all samples that choose.
fn finish(context: &Context, winner: &mut Candidate) -> Result<(), Failure> {
    let Some(record) = winner.validation.take() else {
        return Ok(());
    };
    let problem = context.problem(&|_, _| ControlFlow::Continue(()));
    if problem.races_on_fewer() {
        winner.model = problem.with_statistics(&winner.model);
        winner.validation = context.validate(&winner.model);
    } else {
        let record = Some(record);
        winner.validation = baselines::completed(context, &context.learner, &winner.model, record)?;
    }
    Ok(())
}
