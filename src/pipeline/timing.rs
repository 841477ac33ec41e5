//! What a transfer took, phase by phase and by kind of work, beside what training took: the part of the
//! report that no two runs have in common.

use serde_json::{Map, Value, json};

use super::{
    compete::Bench,
    judge::Contest,
    matching::Origin,
    meter::{Meter, Seconds, WATTS_PER_CORE},
};
use crate::engine::ledger::Work;

/// Kinds of work that the device does.
const ON_DEVICE: [Work; 4] =
    [Work::Gradients, Work::Statistics, Work::Evaluation, Work::FineTuning];
const HAS_GPU: bool = cfg!(any(feature = "wgpu", feature = "cuda"));

/// `diagnosis` is in seconds.
pub fn timing(bench: &Bench, contest: &Contest, (meter, diagnosis): (&Meter, f64)) -> Value {
    let passed = meter.passed();
    let by_method = |of: &dyn Fn(usize) -> f64| -> Map<String, Value> {
        let candidates = contest.candidates.iter().enumerate();
        candidates.map(|(i, one)| (one.method.name().to_owned(), json!(of(i)))).collect()
    };
    let training = training(contest);
    let (peak, of_this_job) = meter.most_memory();
    json!({
        "wall_seconds": passed.wall,
        "cpu_seconds": passed.cpu,
        "gpu_seconds": HAS_GPU.then(|| ON_DEVICE.map(|work| bench.ledger.seconds(work)).iter().sum::<f64>()),
        "gpu_assumption": HAS_GPU.then_some("wall time of the work that the device does, waiting for it included"),
        "by_phase": by_phase(meter),
        "phases": by_kind(bench),
        "methods": by_method(&|i| contest.candidates[i].seconds),
        "methods_cpu_seconds": by_method(&|i| contest.cpu_seconds[i]),
        "diagnosis_seconds": diagnosis,
        "few_shot_seconds": contest.few_shot.as_ref().map(|f| f.tuned.seconds.wall),
        "fine_tune_only_seconds": contest.fine_tune_only.as_ref().map(|f| f.seconds.wall),
        "fine_tune_seconds": contest.fine_tuning.as_ref().map(|f| f.seconds.wall),
        "winner_over_training": training.map(|cpu| contest.cpu_seconds[contest.chosen] / cpu),
        "training": {
            "fine_tune": contest.fine_tuning.as_ref().map(|f| used(f.seconds)),
            "few_shot": contest.few_shot.as_ref().map(|few| used(few.seconds)),
            "fine_tune_only": contest.fine_tune_only.as_ref().map(|f| used(f.seconds)),
        },
        "weight_matching": bench.matching.get().map(|origin| {
            json!({"cached": origin == Origin::Cached, "resumed": origin == Origin::Resumed})
        }),
        "resumed_gradients": bench.steps.borrow().iter().map(|s| s.found()).sum::<usize>(),
        "peak_memory_bytes": peak,
        "peak_memory_of": if of_this_job { "job" } else { "process" },
        "energy": {
            "joules": passed.joules(),
            "assumption": format!("{WATTS_PER_CORE} W for each busy core, processor only"),
        },
    })
}

/// Processor seconds of the job's own training without a transfer, or else after it.
fn training(contest: &Contest) -> Option<f64> {
    let tuned = contest.fine_tune_only.as_ref().or(contest.fine_tuning.as_ref())?;
    (tuned.seconds.cpu > 0.0).then_some(tuned.seconds.cpu)
}

fn used(seconds: Seconds) -> Value {
    let mut value = json!(seconds);
    value["joules"] = json!(seconds.joules());
    value
}

/// Phases so far: while the report is written, publishing has not begun.
fn by_phase(meter: &Meter) -> Map<String, Value> {
    let named = |(phase, seconds)| {
        Some((serde_json::to_value(phase).ok()?.as_str()?.to_owned(), used(seconds)))
    };
    meter.phases().into_iter().filter_map(named).collect()
}

fn by_kind(bench: &Bench) -> Map<String, Value> {
    let named = |work: &Work| {
        let name = serde_json::to_value(work).ok()?.as_str()?.to_owned();
        Some((name, json!(bench.ledger.seconds(*work))))
    };
    Work::ALL.iter().filter_map(named).collect()
}
