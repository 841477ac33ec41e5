//! The sequence of one transfer: each line takes the values of the lines before it.
//!
//! Inputs and a look at the bases come first; a candidate of every method, the choice among them by
//! validation, the baselines, training where it is granted, and what the new base reaches without a transfer
//! follow; the test split judges, and the result is written, its manifest last.

use super::{
    baselines, choose,
    comparison::Comparison,
    context::Context,
    device::checked_device,
    diagnose,
    failure::{self, Failure},
    inputs,
    job::{Job, Stop},
    memory,
    meter::{self, Meter},
    output::{self, Place},
    publish, relation, retraining, select, train, verdict,
};
use crate::{
    artifacts::{Access, Begun, ResultWriter, tensors::InputChanged},
    contract::outcome::{Outcome, Phase},
};

/// Runs one transfer to its end and publishes the result under `<spec.output>/<id>/`.
///
/// An attempt that finds a whole result there, written by an earlier attempt that did not live to
/// say so, takes it as its own. Nothing half-written is left behind by a failure; an attempt that
/// must hand its lease back leaves the folder to its successor.
///
/// # Errors
/// See [`Failure`].
pub fn run(job: Job) -> Result<Outcome, Failure> {
    run_into(job, Place::Final)
}

/// The same as [`run()`], into either place.
///
/// # Errors
/// See [`Failure`].
pub fn run_into(job: Job, place: Place) -> Result<Outcome, Failure> {
    let meter = Meter::start(job.progress);
    let storage = job.storage.watching();
    let job = Job {
        progress: &meter,
        storage: &storage,
        ..job
    };

    let scratch = meter::Scratch::create(job.scratch, job.id)?;
    let go_on = || job.progress.go_on().is_ok();
    let access = Access {
        storage: job.storage,
        scratch: scratch.path(),
        go_on: &go_on,
    };
    let done = attempt(&job, access, &meter, place);

    // Whatever a stopped read or write says, the reason is the stop.
    match (done, job.progress.go_on()) {
        (Err(_), Err(stop)) => Err(Failure::Stopped(stop)),
        (done, _) => done,
    }
}

/// Takes the result that stands, or makes one.
///
/// `publish` is entered for the files, while the inputs are there to be read, and once more for the manifest:
/// with that the folder is a result, and nothing that goes wrong later may discard it.
fn attempt(job: &Job, access: Access, meter: &Meter, place: Place) -> Result<Outcome, Failure> {
    job.progress.phase(Phase::Fetching);
    let output = output::location(job.storage, &job.spec.output, place)?;
    let begun = ResultWriter::begin(access, &output, job.id).map_err(failure::at("/output"))?;

    match begun {
        Begun::Standing(standing) => publish::standing(job, &output, standing),
        Begun::Fresh(mut writer) => match compute_or_lose(job, access, meter, &mut writer) {
            Ok(facts) => publish::manifest(job, &output, writer, facts),
            Err(failure) => {
                let ours = !matches!(job.progress.go_on(), Err(Stop::HandedBack));
                if ours && let Err(error) = writer.discard() {
                    tracing::warn!(%error, "could not remove what was half-written");
                }
                Err(failure)
            }
        },
    }
}

/// The same as [`compute`], where an input that can be read no further is a failure, and no panic. What
/// is wrong with an input that has changed meanwhile is that it has.
fn compute_or_lose(
    job: &Job,
    access: Access,
    meter: &Meter,
    writer: &mut ResultWriter,
) -> Result<publish::Facts, Failure> {
    let done = InputChanged::catch(|| compute(job, access, meter, writer))
        .unwrap_or_else(|changed| Err(failure::lost(&failure::fields(job.spec), changed)));
    match (done, job.storage.check_unchanged()) {
        (Err(Failure::Input { .. }), Err(changed)) => {
            Err(failure::written(job.spec)(changed.into()))
        }
        (done, _) => done,
    }
}

/// Everything up to the manifest.
fn compute(
    job: &Job,
    access: Access,
    meter: &Meter,
    writer: &mut ResultWriter,
) -> Result<publish::Facts, Failure> {
    checked_device()?;
    memory::check(job)?;
    let inputs = inputs::read(job, access)?;
    let context = Context::new(&inputs, job)?;

    let facts = transfer(&context, meter, writer);
    metrics::counter!("retune_sample_gradients_total").increment(context.cost().sample_gradients);
    facts
}

/// What follows the inputs.
fn transfer(
    context: &Context,
    meter: &Meter,
    writer: &mut ResultWriter,
) -> Result<publish::Facts, Failure> {
    let progress = context.job.progress;
    progress.phase(Phase::Diagnosing);
    let diagnosed = diagnose::run(context)?;
    let candidates = select::run(context, &diagnosed.diagnosis)?;

    progress.phase(Phase::Evaluating);
    let related = relation::run(context, diagnosed, &candidates);
    let choice = choose::run(context, candidates)?;
    let baselines = baselines::run(context, &choice)?;
    let fine_tuning = train::run(context, &choice)?;
    let retrained = retraining::run(context, &choice, &baselines)?;
    let comparison = Comparison {
        choice,
        baselines,
        fine_tuning,
        few_shot: retrained.few_shot,
        fine_tune_only: retrained.fine_tune_only,
    };

    comparison
        .test()
        .map_or(Ok(()), |test| failure::check_loss(test.loss))?;

    let judgement = verdict::judge(context, &comparison, &related.diagnosis);
    let results = publish::Results {
        comparison,
        judgement,
        related,
    };
    let facts = publish::files(writer, context, meter, results)?;
    context.forget_gradients();
    Ok(facts)
}
