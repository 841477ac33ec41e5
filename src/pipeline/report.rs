//! `report.json`: what was tried, what came of it, what it cost.
//!
//! Everything outside `timing` and `environment` is the same for the same inputs, seed, device and
//! thread count.

use serde_json::{Map, Value, json};

use super::{
    compete::Bench,
    diagnose::Diagnosed,
    fetch::Splits,
    fine_tune::FineTuning,
    judge::{Contest, Judgement, Scores},
    meter::Meter,
    rivals::FewShot,
    timing::timing,
};
use crate::engine::{
    learning::{Dataset, Evaluation},
    symmetry::Permutation,
    transfer::{Candidate, STATISTICS_SAMPLES, candidate::ALPHAS},
};

const FORMAT: &str = "retune-report/1";

/// Writes the report of a transfer.
pub fn write(
    bench: &Bench,
    contest: &Contest,
    judgement: &Judgement,
    diagnosed: &Diagnosed,
    meter: &Meter,
) -> Value {
    let ranks = ranks(&contest.candidates);
    let candidates: Vec<Value> = contest
        .candidates
        .iter()
        .zip(contest.tests.iter().zip(ranks))
        .map(|(one, (test, rank))| candidate(one, test.as_ref(), rank))
        .collect();
    let baselines = &contest.baselines;
    json!({
        "format": FORMAT,
        "verdict": judgement.verdict,
        "recommendation": {"action": judgement.recommendation, "reasons": judgement.reasons},
        "warnings": judgement.warnings,
        "winner": contest.winner().method,
        "published_model": if contest.fine_tuning.as_ref().is_some_and(|f| f.chosen) { "fine_tuned" } else { "transferred" },
        "metrics": metrics(bench, contest, judgement),
        "gate": judgement.gate,
        "head": bench.inputs.head.as_ref().map(|head| json!({
            "adopted": head.tensors,
            "left_out": head.left_out,
        })),
        "shared_rows": bench.inputs.shared_rows.iter().map(|rows| json!({
            "axis": rows.axis,
            "tensors": rows.tensors,
            "source": rows.of,
            "target": rows.rows.len(),
            "shared": rows.shared(),
            "own": rows.own,
        })).collect::<Vec<_>>(),
        "left_out": bench.inputs.target.folder.left_out,
        "splits": splits(&bench.inputs.splits),
        "baselines": {
            "source_tuned": baselines.source_tuned.as_ref().map(|s| scores(s, "as_deployed")),
            "target_before": baselines.target_before.as_ref().map(|s| {
                scores(s, if baselines.restated { "re_estimated" } else { "as_deployed" })
            }),
            "few_shot": contest.few_shot.as_ref().map(few_shot),
            "fine_tune_only": contest.fine_tune_only.as_ref().map(trained),
        },
        "candidates": candidates,
        "fine_tune": contest.fine_tuning.as_ref().map(fine_tuning),
        "negative_flips": judgement.negative_flips,
        "diagnosis": diagnosed.diagnosis,
        "ladder": contest.ladder,
        "selection": {"alphas": ALPHAS, "statistics_samples": STATISTICS_SAMPLES},
        "cost": cost(bench, contest, diagnosed),
        "timing": timing(bench, contest, (meter, diagnosed.seconds)),
        "environment": environment(),
    })
}

/// The figures that stand for the result, on the split that judges.
pub fn metrics(bench: &Bench, contest: &Contest, judgement: &Judgement) -> Value {
    let mut metrics = Map::new();
    let winner = contest.winner();
    metrics.insert("method".into(), json!(winner.method));
    metrics.insert("step".into(), json!(winner.step));
    metrics.insert("alpha".into(), json!(winner.alpha));
    if let Some(test) = contest.test() {
        let split = if bench.inputs.splits.test_is_validation { "validation" } else { "test" };
        metrics.insert("split".into(), json!(split));
        metrics.insert("accuracy".into(), json!(test.accuracy));
        metrics.insert("loss".into(), json!(test.loss));
        metrics.insert("recovery".into(), json!(judgement.recovery));
        let baselines = &contest.baselines;
        for (name, scores) in [
            ("source_accuracy", &baselines.source_tuned),
            ("target_accuracy_before", &baselines.target_before),
        ] {
            metrics.insert(name.into(), json!(scores.as_ref().map(|s| s.test.accuracy)));
        }
    }
    Value::Object(metrics)
}

fn score(evaluation: &Evaluation) -> Value {
    json!({"accuracy": evaluation.accuracy, "loss": evaluation.loss})
}

/// Beside the figures, whose running statistics they rest on.
fn scores(scores: &Scores, statistics: &str) -> Value {
    let mut value = score(&scores.test);
    value["statistics"] = json!(statistics);
    value["validation"] = json!(scores.validation.as_ref().map(score));
    value
}

fn splits(splits: &Splits) -> Value {
    let samples = |data: &Option<Dataset>| data.as_ref().map(Dataset::len);
    json!({
        "train": samples(&splits.train),
        "validation": samples(&splits.validation),
        "test": samples(&splits.test),
        "validation_held_out_of_train": splits.held_out,
        "test_is_validation": splits.test_is_validation,
    })
}

/// Each candidate's place by validation, the winner's being 1, in the order by which `ladder::best`
/// chooses; `None` without validation.
fn ranks(candidates: &[Candidate]) -> Vec<Option<usize>> {
    let figures = |i: usize| candidates[i].validation.as_ref().map(|v| (v.accuracy, v.loss));
    let mut order: Vec<(usize, (f64, f64))> =
        (0..candidates.len()).filter_map(|i| Some((i, figures(i)?))).collect();
    order.sort_by(|(_, a), (_, b)| b.0.total_cmp(&a.0).then(a.1.total_cmp(&b.1)));
    let place = |i: usize| order.iter().position(|(at, _)| *at == i).map(|place| place + 1);
    (0..candidates.len()).map(place).collect()
}

fn candidate(candidate: &Candidate, test: Option<&Evaluation>, rank: Option<usize>) -> Value {
    let alphas: Vec<Value> = candidate
        .alphas
        .iter()
        .map(|(alpha, score)| json!({"alpha": alpha, "accuracy": score.accuracy, "loss": score.loss}))
        .collect();
    json!({
        "method": candidate.method,
        "rank": rank,
        "step": candidate.step,
        "alpha": candidate.alpha,
        "orthogonal_shift": candidate.orthogonal_shift,
        "validation": candidate.validation.as_ref().map(score),
        "test": test.map(score),
        "last_step": candidate.steps.last(),
        "steps": candidate.steps,
        "alphas": alphas,
        "fixed_points": candidate.transport.permutation().map(Permutation::fixed_points),
        "mask": candidate.mask,
        "builds_on": candidate.builds_on,
        "maps": candidate.maps,
        "matching": candidate.evidence,
        "groups": candidate.groups,
        "sample_gradients": candidate.cost.sample_gradients,
        "sample_forwards": candidate.cost.sample_forwards,
        "flops": candidate.cost.flops,
    })
}

fn fine_tuning(tuned: &FineTuning) -> Value {
    json!({
        "chosen": tuned.chosen,
        "end": tuned.end,
        "epochs": tuned.epochs,
        "validation": tuned.validation.as_ref().map(score),
        "test": tuned.test.as_ref().map(score),
        "barrier": tuned.barrier,
        "sample_gradients": tuned.cost.sample_gradients,
        "flops": tuned.cost.flops,
    })
}

fn few_shot(few: &FewShot) -> Value {
    let mut value = trained(&few.tuned);
    value["learning_rate"] = json!(few.learning_rate);
    value["samples"] = json!(few.samples);
    value
}

/// A trained baseline in the form of the others, with what it cost.
fn trained(tuned: &FineTuning) -> Value {
    let mut value = tuned.test.as_ref().map_or_else(|| json!({}), score);
    value["validation"] = json!(tuned.validation.as_ref().map(score));
    value["epochs"] = json!(tuned.epochs);
    value["end"] = json!(tuned.end);
    value["sample_gradients"] = json!(tuned.cost.sample_gradients);
    value["flops"] = json!(tuned.cost.flops);
    value
}

/// What was spent, beside what one epoch of ordinary training would spend.
fn cost(bench: &Bench, contest: &Contest, diagnosed: &Diagnosed) -> Value {
    let total = bench.cost();
    let epoch = bench.inputs.splits.train.as_ref().map_or(0, Dataset::len);
    let transfer = contest.cost.sample_gradients;
    json!({
        "total": total,
        "diagnosis": diagnosed.cost,
        "transfer_sample_gradients": transfer,
        "one_epoch_sample_gradients": epoch,
        "transfer_over_one_epoch": (epoch > 0).then(|| transfer as f64 / epoch as f64),
    })
}

fn environment() -> Value {
    json!({
        "software": {"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")},
        "device": format!("{:?}", super::device()),
        "threads": rayon::current_num_threads(),
        "architecture": std::env::consts::ARCH,
    })
}
