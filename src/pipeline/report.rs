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
    meter::{Meter, WATTS_PER_CORE, peak_memory},
    rivals::FewShot,
};
use crate::engine::{
    learning::{Dataset, Evaluation},
    ledger::Work,
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
    let candidates: Vec<Value> = contest
        .candidates
        .iter()
        .zip(&contest.tests)
        .map(|(one, test)| candidate(one, test.as_ref()))
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
        })).collect::<Vec<_>>(),
        "splits": splits(&bench.inputs.splits),
        "baselines": {
            "source_tuned": baselines.source_tuned.as_ref().map(scores),
            "target_before": baselines.target_before.as_ref().map(scores),
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

fn scores(scores: &Scores) -> Value {
    let mut value = score(&scores.test);
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

fn candidate(candidate: &Candidate, test: Option<&Evaluation>) -> Value {
    let alphas: Vec<Value> = candidate
        .alphas
        .iter()
        .map(|(alpha, score)| json!({"alpha": alpha, "accuracy": score.accuracy, "loss": score.loss}))
        .collect();
    json!({
        "method": candidate.method,
        "step": candidate.step,
        "alpha": candidate.alpha,
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
    let transfer: u64 = contest.candidates.iter().map(|c| c.cost.sample_gradients).sum();
    json!({
        "total": total,
        "diagnosis": diagnosed.cost,
        "transfer_sample_gradients": transfer,
        "one_epoch_sample_gradients": epoch,
        "transfer_over_one_epoch": (epoch > 0).then(|| transfer as f64 / epoch as f64),
    })
}

fn timing(bench: &Bench, contest: &Contest, (meter, diagnosis): (&Meter, f64)) -> Value {
    let work: Map<String, Value> = Work::ALL
        .iter()
        .filter_map(|work| {
            Some((
                serde_json::to_value(work).ok()?.as_str()?.to_owned(),
                json!(bench.ledger.seconds(*work)),
            ))
        })
        .collect();
    let methods: Map<String, Value> =
        contest.candidates.iter().map(|c| (c.method.name().to_owned(), json!(c.seconds))).collect();
    let cpu = meter.cpu_seconds();
    json!({
        "wall_seconds": meter.wall_seconds(),
        "cpu_seconds": cpu,
        "gpu_seconds": null,
        "phases": work,
        "methods": methods,
        "diagnosis_seconds": diagnosis,
        "few_shot_seconds": contest.few_shot.as_ref().map(|f| f.tuned.seconds),
        "fine_tune_only_seconds": contest.fine_tune_only.as_ref().map(|f| f.seconds),
        "fine_tune_seconds": contest.fine_tuning.as_ref().map(|f| f.seconds),
        "weight_matching": bench.cached_matching.get().map(|cached| json!({"cached": cached})),
        "resumed_gradients": bench.steps.borrow().iter().map(|s| s.found()).sum::<usize>(),
        "peak_memory_bytes": peak_memory(),
        "energy": {
            "joules": cpu * WATTS_PER_CORE,
            "assumption": format!("{WATTS_PER_CORE} W for each busy core, processor only"),
        },
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
