//! What stands without any transfer: the old tuned model and the new base.

use std::ops::ControlFlow;

use super::{
    comparison::{Baselines, Choice, Measured, Scores},
    context::Context,
    failure::Failure,
};
use crate::engine::{
    tensors::Checkpoint,
    training::Learner,
    transfer::race::{Arm, Record},
};

/// Measures what stands without any transfer: the old tuned model as it is deployed, and the new base
/// as the candidates are measured. What the choice has seen of them is not evaluated again.
///
/// # Errors
/// When the job is stopped.
pub fn measure(context: &Context, choice: &Choice) -> Result<Baselines, Failure> {
    let splits = &context.inputs.splits;
    let restated = splits.train.is_some() && context.inputs.graph.has_batch_norm();
    let Some(test) = &splits.test else {
        return Ok(Baselines {
            source_tuned: None,
            target_before: None,
            restated,
        });
    };

    let source = context.source.as_ref().unwrap_or(&context.learner);
    let tuned = context.inputs.trajectory.tuned();
    let source_tuned = Scores {
        test: context.evaluate_by(source, tuned, test),
        validation: completed(context, source, tuned, choice.seen.source_tuned.clone())?,
    };

    let target_before = if let Some(Measured { model, record }) = &choice.seen.target_before {
        Scores {
            test: context.evaluate(model, test),
            validation: Some(record.clone()),
        }
    } else {
        let model = target_before(context);
        Scores {
            test: context.evaluate(&model, test),
            validation: context.validate(&model),
        }
    };
    let (source_tuned, target_before) = (Some(source_tuned), Some(target_before));
    Ok(Baselines {
        source_tuned,
        target_before,
        restated,
    })
}

/// The new base with running statistics of the training samples.
pub fn target_before(context: &Context) -> Checkpoint {
    let problem = context.problem(&|_, _| ControlFlow::Continue(()));
    problem.with_statistics(&context.inputs.target.checkpoint)
}

/// A model's record on all samples that choose, given that of the first of them.
pub fn completed(
    context: &Context,
    learner: &Learner,
    model: &Checkpoint,
    record: Option<Record>,
) -> Result<Option<Record>, Failure> {
    let (Some(race), Some(record)) = (context.race(), record) else {
        return Ok(None);
    };
    let go_on: &dyn Fn(usize) -> ControlFlow<()> = &|_| context.go_on();
    let track = context.track(learner, race.blocks, go_on);
    let mut arm = Arm::new(track, move || model.clone()).after(record);
    race.finish(&mut arm)?;
    Ok(Some(arm.into_parts().1))
}
