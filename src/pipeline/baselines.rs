//! What stands without any transfer: the old tuned model and the new base.

use super::{
    comparison::{Baselines, Choice, Measured, Scores},
    context::Context,
    failure::Failure,
};

/// Measures what stands without any transfer: the old tuned model as it is deployed, and the new base
/// as the candidates are measured. What the choice has seen of them is not evaluated again.
///
/// # Errors
/// When the job is stopped.
pub fn run(context: &Context, choice: &Choice) -> Result<Baselines, Failure> {
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
        validation: match choice.seen.source_tuned.clone() {
            Some(record) => context.completed(source, tuned, record)?,
            None => None,
        },
    };

    let target_before = if let Some(Measured { model, record }) = &choice.seen.target_before {
        Scores {
            test: context.evaluate(model, test),
            validation: Some(record.clone()),
        }
    } else {
        let model = context.target_before();
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
