//! Writes the result, the manifest last.

mod adapter;
mod predictions;
mod report;

use serde_json::{Value, json};

use super::{
    comparison::Comparison,
    context::Context,
    failure::{self, Failure},
    job::Job,
    meter::Meter,
    relation::Related,
    verdict::Judgement,
};
use crate::{
    artifacts::{
        ArtifactError, Card, InputFile, ResultWriter, licence_of,
        result::{Finished, ManifestFacts, Standing},
    },
    contract::{
        codes::FailureCode,
        manifest::{MAX_DOCUMENT_BYTES, files},
        outcome::{Outcome, Phase, Recommendation, Verdict},
        report::{Metrics, Report},
    },
    storage::Location,
};

/// What the manifest and the job row say beside the files.
pub struct Facts {
    pub inputs: Vec<InputFile>,
    pub verdict: Verdict,
    pub recommendation: Option<Recommendation>,
    pub metrics: Value,
}

/// What was found: all that report, card and model are written from.
pub struct Results {
    pub comparison: Comparison,
    pub judgement: Judgement,
    pub related: Related,
}

/// Everything but the manifest: model, adapter and permutation where the verdict is to publish, report and
/// card always.
pub fn files(
    writer: &mut ResultWriter,
    context: &Context,
    meter: &Meter,
    results: Results,
) -> Result<Facts, Failure> {
    // Taken first: it tells what led to the result, and nothing of how that was written.
    let timing = report::timing(context, meter, &results);
    context.job.progress.phase(Phase::Publishing);

    let inputs = context.inputs;
    let spec = context.job.spec;
    let published = results.judgement.verdict == Verdict::Published;
    let update = match spec.options.update {
        Some(wanted) if published => {
            let adapter = adapter::of(context, &results.comparison, wanted);
            writer
                .adapter(&adapter.config, &adapter.tensors)
                .map_err(failure::written(spec))?;
            Some(adapter.report)
        }
        _ => None,
    };

    let report = report::of(context, &results, timing, update);

    let Results {
        comparison,
        judgement,
        ..
    } = &results;
    let card = card(context, &results, report.metrics.clone())?;

    if published {
        model(writer, context, comparison).map_err(failure::written(spec))?;
    }

    writer
        .report(&json!(report))
        .map_err(failure::written(spec))?;
    if let Some(table) = predictions::of(context, comparison) {
        writer.predictions(&table).map_err(failure::written(spec))?;
    }

    writer.card(&card).map_err(failure::written(spec))?;

    Ok(Facts {
        inputs: inputs.files.clone(),
        verdict: judgement.verdict,
        recommendation: judgement.recommendation,
        metrics: json!(report.metrics),
    })
}

/// What people are told of the result.
fn card(context: &Context, results: &Results, metrics: Metrics) -> Result<Card, Failure> {
    let Results {
        comparison,
        judgement,
        ..
    } = results;
    let inputs = context.inputs;
    let spec = context.job.spec;
    let licence = licence_of(context.job.storage.blocking(), &inputs.target.folder)
        .map_err(failure::at("/target/base"))?;
    let is_published = judgement.verdict == Verdict::Published;

    Ok(Card {
        name: spec.name.clone(),
        source_base: spec.source.base.clone(),
        trajectory: spec.source.trajectory.clone(),
        target_base: spec.target.base.clone(),
        method: is_published.then(|| comparison.winner().method.name().to_owned()),
        licence,
        metrics,
        warnings: judgement.warnings.clone(),
        inputs: inputs.files.clone(),
    })
}

/// The model that is published, and the permutation that led to it.
fn model(
    writer: &mut ResultWriter,
    context: &Context,
    comparison: &Comparison,
) -> Result<(), ArtifactError> {
    let inputs = context.inputs;
    writer.model(
        &inputs.naming.written(comparison.model()),
        &inputs.target.folder,
    )?;
    // A network by names has no group to tell of.
    let permutation = comparison.winner().transport.permutation();
    if let Some(permutation) = permutation.filter(|_| inputs.graph.by_names().is_none()) {
        let groups: Vec<_> = permutation.named(&inputs.symmetry).collect();
        writer.permutation(groups.iter().map(|(name, p)| (*name, p.as_slice())))?;
    }
    Ok(())
}

/// Makes the folder a result, of this attempt or of one that was before it.
pub fn manifest(
    job: &Job,
    output: &Location,
    writer: ResultWriter,
    facts: Facts,
) -> Result<Outcome, Failure> {
    // The last moment at which a lost lease or a cancellation can still be heard.
    job.progress.go_on().map_err(Failure::Stopped)?;
    let spec = serde_json::to_value(job.spec).map_err(|error| Failure::Internal {
        code: FailureCode::UnwritableSpec,
        detail: error.to_string(),
    })?;
    let Facts {
        inputs,
        verdict,
        recommendation,
        metrics,
    } = facts;

    let finished = writer
        .signed_by(job.signer)
        .finish(ManifestFacts {
            id: job.id,
            spec: &spec,
            verdict,
            inputs: &inputs,
        })
        .map_err(failure::written(job.spec))?;
    let standing = match finished {
        Finished::Own(standing) => standing,
        Finished::Other(other) => return self::standing(job, output, other),
    };
    let (bytes, manifest_sha256) = (standing.bytes(), standing.manifest_sha256.clone());

    Ok(Outcome {
        uri: standing.uri,
        manifest_sha256,
        bytes,
        verdict,
        recommendation,
        metrics,
    })
}

/// The outcome of a result that an earlier attempt wrote whole.
pub fn standing(job: &Job, output: &Location, standing: Standing) -> Result<Outcome, Failure> {
    let folder = output
        .child(&job.id.to_string())
        .map_err(|error| unreadable(&error))?;
    let report = report_of(job, &folder)?;
    let verdict = report
        .verdict
        .ok_or_else(|| unreadable(&"it has no verdict"))?;

    Ok(Outcome {
        bytes: standing.bytes(),
        uri: standing.uri,
        manifest_sha256: standing.manifest_sha256.clone(),
        verdict,
        recommendation: report.recommendation.action,
        metrics: json!(report.metrics),
    })
}

/// The report of a result that stands.
fn report_of(job: &Job, folder: &Location) -> Result<Report, Failure> {
    let place = folder
        .child(files::REPORT)
        .map_err(|error| unreadable(&error))?;
    let bytes = job
        .storage
        .blocking()
        .read_small(&place, MAX_DOCUMENT_BYTES)
        .map_err(|error| unreadable(&error))?;
    Report::from_json(&bytes).map_err(|error| unreadable(&error))
}

/// A result that stands and is none.
pub fn unreadable(detail: &impl ToString) -> Failure {
    Failure::Internal {
        code: FailureCode::UnreadableResult,
        detail: detail.to_string(),
    }
}
