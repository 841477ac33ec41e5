//! What a transfer took, phase by phase and by kind of work, beside what training took: the part of the
//! report that no two runs have in common.

use crate::{
    contract::report::{Energy, Named, PhaseTime, Timing, TrainingTimes, WeightMatchingOrigin},
    engine::profiler::Work,
    pipeline::{
        cache::{DiskGradients, Origin},
        comparison::Comparison,
        context::Context,
        device::is_gpu_open,
        meter::{Meter, Seconds, WATTS_PER_CORE},
        publish::Results,
    },
};

/// Kinds of work that the device does.
const ON_DEVICE: [Work; 4] = [
    Work::Gradients,
    Work::Statistics,
    Work::Evaluation,
    Work::FineTuning,
];

/// What the results took so far.
pub fn timing(context: &Context, meter: &Meter, results: &Results) -> Timing {
    let Results {
        comparison,
        related,
        ..
    } = results;
    let passed = meter.passed();
    let (peak, of_this_job) = meter.most_memory();
    let on_device: f64 = ON_DEVICE
        .iter()
        .map(|work| context.profiler.seconds(*work))
        .sum();

    Timing {
        wall_seconds: Some(passed.wall),
        cpu_seconds: Some(passed.cpu),
        gpu_seconds: is_gpu_open().then_some(on_device),
        gpu_assumption: is_gpu_open().then(|| GPU_ASSUMPTION.to_owned()),
        by_phase: by_phase(meter),
        phases: by_kind(context),
        methods: by_method(
            comparison,
            comparison.choice.candidates.iter().map(|one| one.seconds),
        ),
        methods_cpu_seconds: by_method(comparison, comparison.choice.cpu_seconds.iter().copied()),
        diagnosis_seconds: Some(related.seconds),
        few_shot_seconds: comparison
            .few_shot
            .as_ref()
            .map(|few| few.tuned.seconds.wall),
        fine_tune_only_seconds: comparison
            .fine_tune_only
            .as_ref()
            .map(|tuned| tuned.seconds.wall),
        fine_tune_seconds: comparison
            .fine_tuning
            .as_ref()
            .map(|tuned| tuned.training.seconds.wall),
        winner_over_training: training(comparison)
            .map(|cpu| comparison.choice.cpu_seconds[comparison.choice.chosen] / cpu),
        training: training_times(comparison),
        weight_matching: context.weight_matching.get().map(told_origin),
        resumed_gradients: Some(context.resumed(DiskGradients::found)),
        resumed_layers: Some(context.resumed(DiskGradients::found_layers)),
        peak_memory_bytes: peak,
        peak_memory_of: if of_this_job { "job" } else { "process" }.to_owned(),
        energy: Energy {
            joules: passed.joules(),
            assumption: format!("{WATTS_PER_CORE} W for each busy core, processor only"),
        },
    }
}

fn training_times(comparison: &Comparison) -> TrainingTimes {
    let fine_tuning = comparison.fine_tuning.as_ref();
    let few_shot = comparison.few_shot.as_ref();
    let fine_tune_only = comparison.fine_tune_only.as_ref();
    TrainingTimes {
        fine_tune: fine_tuning.map(|tuned| used(tuned.training.seconds)),
        few_shot: few_shot.map(|few| used(few.seconds)),
        fine_tune_only: fine_tune_only.map(|tuned| used(tuned.seconds)),
    }
}

fn told_origin(origin: Origin) -> WeightMatchingOrigin {
    WeightMatchingOrigin {
        cached: origin == Origin::Cached,
        resumed: origin == Origin::Resumed,
    }
}

const GPU_ASSUMPTION: &str = "wall time of the work that the device does, waiting for it included";

/// A figure of each candidate by its method, in order.
fn by_method(comparison: &Comparison, figures: impl Iterator<Item = f64>) -> Named<f64> {
    let methods = comparison
        .choice
        .candidates
        .iter()
        .map(|one| one.method.name().to_owned());
    methods.zip(figures).collect()
}

/// Processor seconds of the job's own training without a transfer, or else after it.
fn training(comparison: &Comparison) -> Option<f64> {
    let after = comparison.fine_tuning.as_ref().map(|tuned| &tuned.training);
    let cpu = comparison.fine_tune_only.as_ref().or(after)?.seconds.cpu;
    (cpu > 0.0).then_some(cpu)
}

fn used(seconds: Seconds) -> PhaseTime {
    PhaseTime {
        wall_seconds: seconds.wall,
        cpu_seconds: seconds.cpu,
        joules: seconds.joules(),
    }
}

/// Phases so far: while the report is written, publishing has not begun.
fn by_phase(meter: &Meter) -> Named<PhaseTime> {
    let phases = meter.phases().into_iter();
    phases
        .map(|(phase, seconds)| (phase.name().to_owned(), used(seconds)))
        .collect()
}

fn by_kind(context: &Context) -> Named<f64> {
    let kinds = Work::ALL.iter().copied();
    kinds
        .map(|work| (name_of(work).to_owned(), context.profiler.seconds(work)))
        .collect()
}

fn name_of(work: Work) -> &'static str {
    match work {
        Work::Gradients => "gradients",
        Work::Similarity => "similarity",
        Work::Assignment => "assignment",
        Work::Fitting => "fitting",
        Work::Arithmetic => "arithmetic",
        Work::Statistics => "statistics",
        Work::Evaluation => "evaluation",
        Work::FineTuning => "fine_tuning",
    }
}
