//! Judges the winner on the test split, which has chosen nothing: gate, verdict, recommendation.

mod recommendation;
mod warnings;

use super::{
    comparison::{Comparison, Judgement},
    context::Context,
};
use crate::{
    contract::{
        outcome::Verdict,
        report::{GateCheck, NegativeFlips},
        spec::{Gate, Methods},
    },
    engine::{
        tensors::{Checkpoint, HostTensor},
        training::cross_entropy::counted,
    },
};
use recommendation::Facts;

/// Applies the gate and says what the evidence recommends.
pub fn judge(context: &Context, comparison: &Comparison, identical_bases: bool) -> Judgement {
    let source = comparison.baselines.source_tuned.as_ref().map(|s| s.test.accuracy);
    let before = comparison.baselines.target_before.as_ref().map(|s| s.test.accuracy);
    let metric = comparison.test().map(|t| t.accuracy);
    let recovery = recovery(metric, before, source);
    let negative_flips = negative_flips(context, comparison);

    let share = negative_flips.map(|flips| flips.share);
    let gate = context.job.spec.gate.as_ref().map_or_else(Vec::new, |gate| {
        let changed = changed_by(context, comparison.model());
        checks(gate, &Measured { metric, source, negative_flips: share, changed })
    });

    let worse = matches!((metric, source), (Some(metric), Some(source)) if metric < source);
    let is_auto = context.job.spec.methods == Methods::Auto;
    let failed = if gate.is_empty() { is_auto && worse } else { gate.iter().any(|c| !c.passed) };
    let verdict = if failed { Verdict::Rejected } else { Verdict::Published };

    let warnings = warnings::of(context, comparison, &gate);
    let facts = Facts {
        metric,
        source,
        recovery,
        fine_tuned: comparison.is_fine_tuned(),
        identical_bases,
        untransferred: untransferred(comparison),
    };
    let (recommendation, mut reasons) = facts.recommend();
    reasons.extend(gate.iter().filter(|check| !check.passed).map(reason));
    Judgement { verdict, recommendation, reasons, warnings, gate, recovery, negative_flips }
}

/// Validation accuracy of the new base trained alone at the same cost, and of the result.
fn untransferred(comparison: &Comparison) -> Option<(f64, f64)> {
    let rival = comparison.few_shot.as_ref().map(|few| &few.tuned);
    let only = comparison.fine_tune_only.as_ref().or(rival)?.validation.as_ref()?;
    Some((only.accuracy(), comparison.validation()?.accuracy()))
}

/// How many learned values of the result are not the new base's; a head that it lacked counts whole.
fn changed_by(context: &Context, model: &Checkpoint) -> usize {
    let head = context.inputs.trajectory.head();
    let names = context.inputs.graph.learned();
    let (new, own): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| head.contains(name));
    let added = new.iter().filter_map(|name| model.get(name)).map(HostTensor::len);
    added.sum::<usize>() + changed(&own, &context.inputs.target.checkpoint, model)
}

/// `(metric − target before) / (source tuned − target before)`; `None` where the tuning gained nothing.
pub fn recovery(metric: Option<f64>, before: Option<f64>, source: Option<f64>) -> Option<f64> {
    let (metric, before, source) = (metric?, before?, source?);
    ((source - before).abs() > 1e-9).then(|| (metric - before) / (source - before))
}

/// What a gate looks at.
struct Measured {
    metric: Option<f64>,
    source: Option<f64>,
    /// Share of the test samples.
    negative_flips: Option<f64>,
    /// Learned values that are not the new base's.
    changed: usize,
}

/// The condition that something was transferred at all.
const CHANGED: &str = "changed_parameters";

/// How many learned values of `model` differ from the new base's.
fn changed(learned: &[String], base: &Checkpoint, model: &Checkpoint) -> usize {
    let both = learned.iter().filter_map(|name| base.get(name).zip(model.get(name)));
    both.map(|(base, model)| base.sums(model, |a, b| f64::from(u8::from(a != b))) as usize).sum()
}

fn checks(gate: &Gate, measured: &Measured) -> Vec<GateCheck> {
    // A checked specification has data wherever it has a gate.
    let (Some(metric), Some(source)) = (measured.metric, measured.source) else {
        return Vec::new();
    };
    let min = gate.min.map(|bound| GateCheck {
        condition: "min".to_owned(),
        bound,
        value: metric,
        passed: metric >= bound,
    });
    let drop = gate
        .max_drop_from_source
        .map(|bound| at_most("max_drop_from_source", source - metric, bound));
    let flips = gate
        .max_negative_flips
        .zip(measured.negative_flips)
        .map(|(bound, value)| at_most("max_negative_flips", value, bound));
    let changed = GateCheck {
        condition: CHANGED.to_owned(),
        bound: 1.0,
        value: measured.changed as f64,
        passed: measured.changed > 0,
    };
    min.into_iter().chain(drop).chain(flips).chain([changed]).collect()
}

fn at_most(condition: &str, value: f64, bound: f64) -> GateCheck {
    GateCheck { condition: condition.to_owned(), bound, value, passed: value <= bound }
}

/// Whether a check is the condition that something was transferred, unmet.
fn found_nothing(check: &GateCheck) -> bool {
    check.condition == CHANGED && !check.passed
}

/// Why the gate failed, for a check that did not pass.
fn reason(check: &GateCheck) -> String {
    if check.condition == CHANGED {
        return "the gate fails: nothing was transferred, every learned parameter is the new base's"
            .to_owned();
    }
    let GateCheck { condition, bound, value, .. } = check;
    format!("the gate fails: {condition} is {bound:.4}, the result has {value:.4}")
}

fn negative_flips(context: &Context, comparison: &Comparison) -> Option<NegativeFlips> {
    let (test, old) = (comparison.test()?, comparison.baselines.source_tuned.as_ref()?);
    let labels = context.inputs.splits.test.as_ref()?.labels();
    let judged = counted(labels).zip(&test.predictions).zip(&old.test.predictions);
    let flipped =
        judged.filter(|&((label, &new), &old)| i64::from(old) == label && i64::from(new) != label);
    let samples = flipped.count();
    Some(NegativeFlips { samples, share: samples as f64 / test.predictions.len() as f64 })
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

    #[test]
    fn a_gate_compares_at_its_bounds() {
        let gate = Gate {
            metric: crate::contract::spec::Metric::Accuracy,
            min: Some(0.5),
            max_drop_from_source: Some(0.25),
            max_negative_flips: Some(0.125),
        };
        let passed = |metric, flips, changed| {
            let (metric, source) = (Some(metric), Some(0.75));
            let measured = Measured { metric, source, negative_flips: Some(flips), changed };
            checks(&gate, &measured).iter().map(|c| c.passed).collect::<Vec<_>>()
        };
        assert_eq!(passed(0.5, 0.125, 1), [true, true, true, true]);
        assert_eq!(passed(0.49, 0.13, 1), [false, false, false, true]);
        assert_eq!(passed(0.9, 0.0, 0), [true, true, true, false]);
    }

    #[test]
    fn changed_values_are_counted_in_learned_tensors_only() {
        let model = |w: f32, mean: f32| -> Checkpoint {
            let tensor = |values: Vec<f32>| HostTensor::from_f32(vec![values.len()], values);
            [("w".to_owned(), tensor(vec![1.0, w])), ("mean".to_owned(), tensor(vec![mean]))]
                .into_iter()
                .collect()
        };
        let learned = ["w".to_owned()];
        assert_eq!(changed(&learned, &model(2.0, 0.0), &model(2.0, 5.0)), 0);
        assert_eq!(changed(&learned, &model(2.0, 0.0), &model(2.5, 0.0)), 1);
    }
}
