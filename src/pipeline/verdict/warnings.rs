//! What somebody should know before he relies on a result.

use super::gate::found_nothing;
use crate::{
    contract::{
        report::GateCheck,
        spec::{Methods, Preprocess},
    },
    pipeline::{comparison::Comparison, context::Context},
};

/// All of them, in order.
pub fn of(context: &Context, comparison: &Comparison, gate: &[GateCheck]) -> Vec<String> {
    let (inputs, splits) = (context.inputs, &context.inputs.splits);
    let mut warnings = applying(context, comparison, gate);
    if splits.unlabelled.is_any() {
        let names = splits.unlabelled.names().collect::<Vec<_>>().join(", ");
        warnings.push(format!(
            "no labels in {names}: the old tuned model's own predictions stand in their place, and what is \
             measured there is agreement with it"
        ));
    }

    if let (Methods::Named(methods), None) = (&context.job.spec.methods, &splits.validation)
        && methods.len() > 1
    {
        warnings.push(format!(
            "no validation split chooses between the methods: {} was taken because it is named last",
            comparison.winner().method.name()
        ));
    }

    if let Some(stated) = &inputs.stated
        && splits
            .sample()
            .is_some_and(|sample| sample.shape.len() == 3)
    {
        let Preprocess { mean, std } = &stated.values;
        warnings.push(format!(
            "the job has no data.preprocess: images in bytes were normalised by the new base's {} (mean \
             {mean:?}, std {std:?}), images in f32 were taken as they are",
            stated.file
        ));
    }

    if inputs.other_start > 0 {
        warnings.push(format!(
            "the first checkpoint of trajectory.json is not source.base: {} tensors differ; the update \
             was taken from source.base",
            inputs.other_start
        ));
    }

    warnings.extend(inputs.notes.iter().cloned());

    warnings
}

/// Those without a name or a number in them.
fn applying(context: &Context, comparison: &Comparison, gate: &[GateCheck]) -> Vec<String> {
    let (inputs, splits) = (context.inputs, &context.inputs.splits);
    let metric = comparison.test().map(|test| test.accuracy);
    let source = comparison
        .baselines
        .source_tuned
        .as_ref()
        .map(|scores| scores.test.accuracy);

    let all = [
        (
            gate.iter().any(found_nothing),
            "nothing was transferred: the result's learned parameters are the new base's",
        ),
        (
            !inputs.trajectory.head().is_empty(),
            "a base has no head of the task and its classes: the result has the old tuning's, and target_before is the \
             new base below that head as it is",
        ),
        (
            splits.held_out,
            "no validation split was given: 10 % of train was held out",
        ),
        (
            splits.test_is_validation,
            "no test split was given: the figures judged are those of the split that chose",
        ),
        (
            metric.is_none(),
            "without data nothing was measured: evaluate the result before using it",
        ),
        (
            !splits.unlabelled.test
                && metric
                    .zip(source)
                    .is_some_and(|(metric, source)| metric < source),
            "the result is less accurate than the old tuned model",
        ),
    ];
    let applying = all.into_iter().filter(|(applies, _)| *applies);

    applying.map(|(_, text)| text.to_owned()).collect()
}
