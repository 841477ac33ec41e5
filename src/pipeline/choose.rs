//! The best of the candidates. Validation samples choose; the test split is measured here and chooses nothing.

use std::ops::ControlFlow;

use super::{
    comparison::{Candidates, Choice},
    context::Context,
    failure::Failure,
};
use crate::{
    contract::codes::FailureCode,
    engine::transfer::{Candidate, ladder},
};

/// Chooses by validation, finishes the chosen candidate, and measures on the test split: every candidate
/// where methods were named, and under `auto` the chosen one.
pub fn run(context: &Context, candidates: Candidates) -> Result<Choice, Failure> {
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
        winner.validation = context.completed(&context.learner, &winner.model, record)?;
    }
    Ok(())
}
