//! What is known of the result, on the split that judges.
//!
//! Where that split has no labels, the old tuned model's predictions stand in their place, and every accuracy
//! here is an agreement with it. Of a regression every accuracy is an R².

use crate::{
    contract::{report::NegativeFlips, spec::Selection},
    engine::{
        network::Task,
        training::{Agreement, Evaluation, Flips, Paired, Runnable, Shown, Tally},
    },
    pipeline::{comparison::Comparison, context::Context},
};

/// When one model counts as good as another.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Accuracy lost without regret.
    pub margin: f64,
    /// Of every statement about two models.
    pub confidence: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        let Selection {
            margin, confidence, ..
        } = Selection::default();
        Self { margin, confidence }
    }
}

/// The figures of a judgement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence {
    /// The result's accuracy.
    pub metric: Option<f64>,
    /// The old tuned model's.
    pub source: Option<f64>,
    /// The new base's.
    pub before: Option<f64>,
    /// `(metric − before) / (source − before)`.
    pub recovery: Option<f64>,
    /// The result beside the old tuned model, sample by sample.
    pub paired: Option<Paired>,
    pub negative_flips: Option<NegativeFlips>,
    /// Share of predictions that are the old tuned model's.
    pub agreement: Option<f64>,
    /// From the old tuned model, in nats; only without labels.
    pub divergence: Option<f64>,
    /// The split that judges has labels of its own.
    pub has_labels: bool,
    /// The network tells values: figures are R².
    pub is_of_values: bool,
    pub bounds: Bounds,
}

impl Evidence {
    pub fn of(context: &Context, comparison: &Comparison) -> Self {
        let (result, baselines) = (comparison.test(), &comparison.baselines);
        let source = baselines.source_tuned.as_ref().map(|scores| &scores.test);
        let before = baselines
            .target_before
            .as_ref()
            .map(|scores| scores.test.accuracy);
        let has_labels = !context.inputs.splits.unlabelled.test;
        let both = result.zip(source);
        let Selection {
            margin, confidence, ..
        } = context.job.spec.options.selection;

        let (metric, source) = (
            result.map(|own| own.accuracy),
            source.map(|old| old.accuracy),
        );

        Self {
            metric,
            source,
            before,
            recovery: recovery(metric, before, source),
            paired: both.and_then(|(own, old)| paired(context, own, old)),
            negative_flips: both.and_then(|(own, old)| negative_flips(context, own, old)),
            agreement: both.and_then(|(own, old)| agreement(context, own, old)),
            divergence: divergence(context, comparison).map(|found| found.divergence),
            has_labels,
            is_of_values: context.inputs.graph.task == Task::Regression,
            bounds: Bounds { margin, confidence },
        }
    }
}

impl Evidence {
    /// What the samples show of the result beside the old tuned model; `None` without any.
    pub fn shown(&self) -> Option<Shown> {
        let Bounds { margin, confidence } = self.bounds;
        self.paired.map(|paired| paired.shown(margin, confidence))
    }
}

/// `(metric − target before) / (source tuned − target before)`; `None` where the tuning gained nothing.
pub fn recovery(metric: Option<f64>, before: Option<f64>, source: Option<f64>) -> Option<f64> {
    let (metric, before, source) = (metric?, before?, source?);
    ((source - before).abs() > 1e-9).then(|| (metric - before) / (source - before))
}

fn paired(context: &Context, own: &Evaluation, old: &Evaluation) -> Option<Paired> {
    let data = context.inputs.splits.test.as_ref()?;
    Some(Paired::of(&Tally::of(own, data), &Tally::of(old, data)))
}

fn negative_flips(context: &Context, own: &Evaluation, old: &Evaluation) -> Option<NegativeFlips> {
    let data = context.inputs.splits.test.as_ref()?;
    let Flips { count, share } = data.flips(&old.predictions, &own.predictions)?;
    let samples = count;
    Some(NegativeFlips { samples, share })
}

fn agreement(context: &Context, own: &Evaluation, old: &Evaluation) -> Option<f64> {
    let data = context.inputs.splits.test.as_ref()?;
    Some(data.agreement(&own.predictions, &old.predictions))
}

/// Of the result from the old tuned model, where there are no labels.
fn divergence(context: &Context, comparison: &Comparison) -> Option<Agreement> {
    let splits = &context.inputs.splits;
    let data = splits.test.as_ref().filter(|_| splits.unlabelled.test)?;
    let result = Runnable {
        learner: &context.learner,
        params: comparison.model(),
    };
    let old_tuned = Runnable {
        learner: context.source.as_ref().unwrap_or(&context.learner),
        params: context.inputs.trajectory.tuned(),
    };

    Some(result.beside(old_tuned, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_is_null_where_the_tuning_gained_nothing() {
        assert_eq!(recovery(Some(0.7), Some(0.5), Some(0.5)), None);
        assert!((recovery(Some(0.7), Some(0.5), Some(0.9)).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(recovery(None, Some(0.5), Some(0.9)), None);
    }
}
