//! The phases of one transfer, from locations to a published result.
//!
//! `fetch` → `diagnose` → `compete` (align, transfer and evaluate each method) → `fine_tune` →
//! `judge` → `report` → `publish`. `retune transfer` and the worker both call [`run`]; they differ
//! in who listens to its [`Progress`]. `run` blocks and computes; call it from a thread of its own,
//! outside any runtime.

mod calibration;
mod compete;
mod device;
mod diagnose;
mod failure;
mod fetch;
mod fine_tune;
mod judge;
mod matching;
mod memory;
mod meter;
mod models;
mod plan;
mod preprocess;
mod publish;
mod recommendation;
mod report;
mod rivals;
mod sealed;
mod steps;
mod timing;
mod translate;
mod update;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

use uuid::Uuid;

use crate::{
    artifacts::{Access, Begun, ResultWriter, tensors::InputChanged},
    contract::spec::Spec,
    storage::Storage,
};

use meter::Meter;

pub use device::{checked_device, device};
pub use fetch::{evaluate, groups};
pub use memory::limit as memory_limit;
pub use plan::plan;

pub use crate::contract::outcome::{Outcome, Phase, Recommendation, Verdict};

/// Hears of a transfer's progress and may stop it. Called often; must not block.
pub trait Progress: Send + Sync {
    fn phase(&self, phase: Phase);
    /// `done` of `total` units (`"timesteps"`, `"epochs"`, `"files"` …) of the current phase.
    fn advance(&self, done: u64, total: u64, unit: &'static str);
    /// Asked before every timestep, epoch and file.
    ///
    /// # Errors
    /// [`Stop`] when the transfer should end without a result.
    fn go_on(&self) -> Result<(), Stop>;
}

/// Why a transfer was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A user cancelled it.
    Cancelled,
    /// This worker may no longer write: it lost its lease or is shutting down.
    HandedBack,
}

/// A transfer that ended without a result; nothing under `output` claims otherwise.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    #[error("stopped")]
    Stopped(Stop),
    /// The user's input is at fault: trying again gives the same.
    #[error("{detail}")]
    Input {
        /// Stable, `snake_case`: `missing_tensor`, `wrong_shape`, `not_finite` …
        code: &'static str,
        /// JSON pointer into the specification.
        pointer: Option<String>,
        detail: String,
    },
    /// The world is at fault (storage, memory, a bug): another attempt may succeed.
    #[error("{detail}")]
    Internal { code: &'static str, detail: String },
}

/// One transfer to be run.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    pub id: Uuid,
    pub spec: &'a Spec,
    pub storage: &'a Storage,
    /// A folder for copies of remote inputs; what is put there is removed in the end.
    pub scratch: &'a Path,
    /// A folder of this machine's for what other jobs and attempts can use; `None`: nothing is
    /// kept.
    pub cache: Option<&'a Path>,
    /// Bytes that the job's plan may hold; `None`: any number.
    pub memory: Option<u64>,
    pub progress: &'a dyn Progress,
}

/// Runs one transfer to its end and publishes the result under `<spec.output>/<id>/`.
///
/// An attempt that finds a whole result there, written by an earlier attempt that did not live to
/// say so, takes it as its own. Nothing half-written is left behind by a failure; an attempt that
/// must hand its lease back leaves the folder to its successor.
///
/// # Errors
/// See [`Failure`].
pub fn run(job: Job) -> Result<Outcome, Failure> {
    let meter = Meter::start(job.progress);
    let storage = job.storage.watching();
    let job = Job { progress: &meter, storage: &storage, ..job };
    let scratch = meter::Scratch::create(job.scratch, job.id)?;
    let go_on = || job.progress.go_on().is_ok();
    let access = Access { storage: job.storage, scratch: scratch.path(), go_on: &go_on };
    let done = begin(&job, access, &meter);
    // Whatever a stopped read or write says, the reason is the stop.
    match (done, job.progress.go_on()) {
        (Err(_), Err(stop)) => Err(Failure::Stopped(stop)),
        (done, _) => done,
    }
}

fn begin(job: &Job, access: Access, meter: &Meter) -> Result<Outcome, Failure> {
    job.progress.phase(Phase::Fetching);
    let output = fetch::location(job.storage, "/output", &job.spec.output)?;
    let begun = ResultWriter::begin(access, &output, job.id).map_err(failure::at("/output"))?;
    match begun {
        Begun::Standing(standing) => publish::standing(job, &output, standing),
        Begun::Fresh(mut writer) => match finish_or_lose(job, (access, meter), &mut writer) {
            Ok(facts) => publish::manifest(job, &output, (writer, facts)),
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

/// The same as [`finish`], where an input that can be read no further is a failure, and no panic. What
/// is wrong with an input that has changed meanwhile is that it has.
fn finish_or_lose(
    job: &Job,
    reading: (Access, &Meter),
    writer: &mut ResultWriter,
) -> Result<publish::Facts, Failure> {
    let done = catch_unwind(AssertUnwindSafe(|| finish(job, reading, writer)));
    let done = done.unwrap_or_else(|panic| match panic.downcast::<InputChanged>() {
        Ok(changed) => Err(failure::lost(job.spec, *changed)),
        Err(panic) => resume_unwind(panic),
    });
    match (done, job.storage.check_unchanged()) {
        (Err(Failure::Input { .. }), Err(changed)) => {
            Err(failure::written(job.spec)(changed.into()))
        }
        (done, _) => done,
    }
}

/// Everything up to the manifest.
fn finish(
    job: &Job,
    (access, meter): (Access, &Meter),
    writer: &mut ResultWriter,
) -> Result<publish::Facts, Failure> {
    checked_device()?;
    memory::check(job)?;
    let inputs = fetch::inputs(job, access)?;
    let bench = compete::Bench::new(&inputs, job)?;
    job.progress.phase(Phase::Diagnosing);
    let diagnosed = diagnose::run(&bench)?;
    let baselines = judge::baselines(&bench);
    let field = compete::run(&bench, &diagnosed, &baselines)?;
    job.progress.phase(Phase::Evaluating);
    let mut contest = judge::winner(&bench, field, baselines)?;
    if job.spec.fine_tune.is_some() {
        job.progress.phase(Phase::FineTuning);
        fine_tune::run(&bench, &mut contest)?;
    }
    contest.few_shot = rivals::few_shot(&bench, &contest)?;
    contest.fine_tune_only = rivals::fine_tune_only(&bench, &contest)?;
    contest.test().map_or(Ok(()), |test| failure::check_loss(test.loss))?;
    let judgement = judge::judge(&bench, &contest, diagnosed.diagnosis.identical_bases);
    let mut report = report::write(&bench, &contest, &judgement, &diagnosed, meter);
    job.progress.phase(Phase::Publishing);
    if let (Some(wanted), Verdict::Published) = (job.spec.options.update, judgement.verdict) {
        let adapter = update::run(&bench, &contest, wanted);
        writer.adapter(&adapter.config, &adapter.tensors).map_err(failure::written(job.spec))?;
        report.update = Some(adapter.report);
    }
    let facts = publish::files(writer, &bench, &contest, judgement, &report)?;
    bench.steps.borrow().iter().for_each(|steps| steps.done());
    Ok(facts)
}
