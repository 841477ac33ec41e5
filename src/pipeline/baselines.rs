//! What stands without any transfer: the old tuned model and the new base.

use std::ops::ControlFlow;

use super::{
    comparison::{Baselines, Scores},
    context::Context,
};
use crate::engine::{tensors::Checkpoint, training::Learner};

/// Measures what stands without any transfer: the old tuned model as it is deployed, and the new base
/// as the candidates are measured.
pub fn measure(context: &Context) -> Baselines {
    let splits = &context.inputs.splits;
    let source = context.source.as_ref().unwrap_or(&context.learner);
    let problem = context.problem(&|_, _| ControlFlow::Continue(()));
    let target = problem.with_statistics(&context.inputs.target.checkpoint);
    Baselines {
        source_tuned: scores(context, source, context.inputs.trajectory.tuned()),
        target_before: scores(context, &context.learner, &target),
        restated: splits.train.is_some() && context.inputs.graph.has_batch_norm(),
    }
}

/// One model on both splits; `None` without a test split.
fn scores(context: &Context, learner: &Learner, model: &Checkpoint) -> Option<Scores> {
    let splits = &context.inputs.splits;
    let test = context.evaluate_by(learner, model, splits.test.as_ref()?);
    let validation = splits.validation.as_ref();
    let validation = validation.map(|data| context.evaluate_by(learner, model, data));
    Some(Scores { validation, test })
}
