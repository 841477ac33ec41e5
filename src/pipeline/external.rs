//! A gate by another program: the result is published to a staging place, and brought from there to its own once the
//! other program has judged.
//!
//! Order of events: [`run_to_staging`] runs a transfer and leaves a whole result in `<output>/staging/<id>/`, its
//! manifest last. Whoever waits for the judgement then calls [`conclude`], which writes `<output>/<id>/`: the staged
//! files with the evaluation in report and card, or report and card alone where it was rejected. The staging place is
//! removed last, so that an attempt that died anywhere is followed by one that does the same again. What the job's
//! own gate rejects is concluded at once, and nobody is asked.

use bytes::Bytes;
use serde_json::json;

use super::{
    failure::{self, Failure},
    inputs,
    job::Job,
    meter::Scratch,
    output::Place,
    publish,
    run::run_into,
};
use crate::{
    artifacts::{
        Access, Begun, Card, ResultWriter, licence_in,
        result::{self, Standing},
    },
    contract::{
        evaluation::EvaluationRecord,
        manifest::{MAX_DOCUMENT_BYTES, Manifest, STAGING, files},
        outcome::{Outcome, Phase, Verdict},
        report::Report,
    },
    storage::{Location, StorageError, sha256_of},
};

/// How a run ended that may have to wait for another program.
#[derive(Clone, Debug)]
pub enum Staged {
    /// The result waits for the evaluation. Its verdict is what the job's own gate says.
    Waiting(Outcome),
    /// The job's own gate has rejected it.
    Rejected(Outcome),
}

/// Runs one transfer to its end and publishes the result to the staging place.
///
/// # Errors
/// See [`Failure`].
pub fn run_to_staging(job: Job) -> Result<Staged, Failure> {
    let staged = run_into(job, Place::Staging)?;
    match staged.verdict {
        Verdict::Published => Ok(Staged::Waiting(staged)),
        Verdict::Rejected => conclude(job, None).map(Staged::Rejected),
    }
}

/// Puts a staged result in its place, or writes the rejection; `None`: the job's own gate has rejected it.
///
/// # Errors
/// See [`Failure`]; `unreadable_result` where the staging place has no whole result.
pub fn conclude(job: Job, evaluation: Option<&EvaluationRecord>) -> Result<Outcome, Failure> {
    job.progress.phase(Phase::Publishing);
    let output = inputs::read::location(job.storage, "/output", &job.spec.output)?;
    let staging = output
        .child(STAGING)
        .map_err(|error| publish::unreadable(&error))?;
    let folder = staging
        .child(&job.id.to_string())
        .map_err(|error| publish::unreadable(&error))?;

    let scratch = Scratch::create(job.scratch, job.id)?;
    let access = Access {
        storage: job.storage,
        scratch: scratch.path(),
        go_on: &|| job.progress.go_on().is_ok(),
    };
    let begun = ResultWriter::begin(access, &output, job.id).map_err(failure::at("/output"))?;
    let outcome = match begun {
        Begun::Standing(standing) => publish::standing(&job, &output, standing)?,
        Begun::Fresh(writer) => {
            let staged = result::find(job.storage, &folder).map_err(failure::at("/output"))?;
            let staged = staged.ok_or_else(|| {
                publish::unreadable(&format!("{folder} has no whole result any more"))
            })?;
            write(
                &job,
                &output,
                writer,
                &Verdicts {
                    folder: &folder,
                    staged,
                    evaluation,
                },
            )?
        }
    };

    // What is left is garbage, and no fault of the result.
    if let Err(error) = job.storage.blocking().delete_prefix(&folder) {
        tracing::warn!(%error, "the staging place could not be removed");
    }

    Ok(outcome)
}

/// What is known of a staged result.
struct Verdicts<'a> {
    folder: &'a Location,
    staged: Standing,
    evaluation: Option<&'a EvaluationRecord>,
}

impl Verdicts<'_> {
    /// A staged file, which has to be what was staged, for that is what was judged.
    fn read(&self, job: &Job, manifest: &Manifest, name: &str) -> Result<Bytes, Failure> {
        let place = self
            .folder
            .child(name)
            .map_err(|error| publish::unreadable(&error))?;
        let read = job
            .storage
            .blocking()
            .read_small(&place, MAX_DOCUMENT_BYTES);
        let bytes = read.map_err(|error| publish::unreadable(&error))?;
        let staged = manifest.outputs.iter().find(|file| file.name == name);

        if staged.is_none_or(|file| file.sha256 != sha256_of(&bytes)) {
            let changed = StorageError::Changed {
                location: place.to_string(),
            };
            return Err(failure::at("/output")(changed.into()));
        }
        Ok(bytes)
    }
}

/// Writes the result that the evaluation makes of the staged one.
fn write(
    job: &Job,
    output: &Location,
    mut writer: ResultWriter,
    known: &Verdicts,
) -> Result<Outcome, Failure> {
    let manifest: Manifest = serde_json::from_value(known.staged.manifest.clone())
        .map_err(|error| publish::unreadable(&error))?;
    let staged = known.read(job, &manifest, files::REPORT)?;
    let staged = Report::from_json(&staged).map_err(|error| publish::unreadable(&error))?;
    let report = judged(staged, known.evaluation);
    let verdict = report.verdict.unwrap_or(Verdict::Rejected);

    let done = files_of(
        job,
        &mut writer,
        &Files {
            known,
            manifest: &manifest,
            report: &report,
        },
    );
    if let Err(failure) = done {
        if let Err(error) = writer.discard() {
            tracing::warn!(%error, "could not remove what was half-written");
        }
        // Whatever a stopped read or write says, the reason is the stop.
        job.progress.go_on().map_err(Failure::Stopped)?;
        return Err(failure);
    }

    let facts = publish::Facts {
        inputs: manifest.inputs,
        verdict,
        recommendation: report.recommendation.action,
        metrics: json!(report.metrics),
    };
    publish::manifest(job, output, writer, facts)
}

/// The report with the evaluation in it.
fn judged(mut report: Report, evaluation: Option<&EvaluationRecord>) -> Report {
    report.evaluation = evaluation.cloned();
    if let Some(objection) = evaluation.and_then(EvaluationRecord::objection) {
        report.verdict = Some(Verdict::Rejected);
        let mut sentence = format!("No model was published: {objection}.");
        std::mem::swap(&mut sentence, &mut report.decision.sentence);
        if !sentence.is_empty() {
            report.decision.sentence += &format!(" Before that: {sentence}");
        }
        report.recommendation.reasons.push(objection);
    }
    report
}

/// What the files of the result are made of.
struct Files<'a> {
    known: &'a Verdicts<'a>,
    manifest: &'a Manifest,
    report: &'a Report,
}

/// Everything but the manifest.
fn files_of(job: &Job, writer: &mut ResultWriter, of: &Files) -> Result<(), Failure> {
    let Files {
        known,
        manifest,
        report,
    } = of;
    let published = report.verdict == Some(Verdict::Published);
    let rewritten = [files::REPORT, files::MODEL_CARD, files::SIGNATURE];
    let kept = manifest.outputs.iter().filter(|file| {
        let name = file.name.as_str();
        !rewritten.contains(&name) && (published || name == files::PREDICTIONS)
    });

    for file in kept {
        job.progress.go_on().map_err(Failure::Stopped)?;
        writer
            .copy(known.folder, file)
            .map_err(failure::written(job.spec))?;
    }

    writer
        .report(&json!(report))
        .map_err(failure::written(job.spec))?;
    let staged_card = known.read(job, manifest, files::MODEL_CARD)?;
    let card = Card {
        name: job.spec.name.clone(),
        source_base: job.spec.source.base.clone(),
        trajectory: job.spec.source.trajectory.clone(),
        target_base: job.spec.target.base.clone(),
        method: published.then(|| report.winner.clone()),
        licence: licence_in(&String::from_utf8_lossy(&staged_card)),
        metrics: report.metrics.clone(),
        warnings: report.warnings.clone(),
        inputs: manifest.inputs.clone(),
    };
    writer.card(&card).map_err(failure::written(job.spec))
}
