//! `report.json`, from what a transfer has found.
//!
//! Everything outside `timing` and `environment` is the same for the same inputs, seed, device and
//! thread count.

mod agreements;
mod timing;
mod told;

use super::Results;
use crate::{
    contract::{
        report::{
            self, Advice, Environment, Measured, Metrics, Report, SelectionRule, Software, Timing,
            UpdateSummary,
        },
        spec::Selection,
    },
    engine::{
        symmetry::Permutation,
        training::{Cost, Dataset, Evaluation, RateTrials},
        transfer::{
            Candidate, RACE_STATISTICS, STATISTICS_SAMPLES,
            candidate::ALPHAS,
            race::{Blocks, Record},
        },
    },
    pipeline::{
        comparison::{Baselines, Comparison, FewShot, FineTuning, Scores, Training},
        context::{Context, Stage},
        device::device_name,
        inputs::{Inputs, Splits},
        verdict::Judgement,
    },
};

pub use timing::timing;

/// Writes the report of a transfer.
pub fn of(
    context: &Context,
    results: &Results,
    timing: Timing,
    update: Option<UpdateSummary>,
) -> Report {
    let Results {
        comparison,
        judgement,
        related,
    } = results;
    let inputs = context.inputs;
    let mut report = Report {
        format: report::FORMAT.to_owned(),
        name: context.job.spec.name.clone(),
        verdict: Some(judgement.verdict),
        recommendation: Advice {
            action: judgement.recommendation,
            reasons: judgement.reasons.clone(),
        },
        decision: judgement.decision.clone(),
        network: inputs.network(),
        warnings: judgement.warnings.clone(),
        winner: comparison.winner().method.name().to_owned(),
        published_model: published_model(comparison).to_owned(),
        metrics: metrics(context, comparison, judgement),
        gate: judgement.gate.clone(),
        evaluation: None,
        head: head(inputs),
        shared_rows: shared_rows(inputs),
        left_out: inputs.target.folder.left_out.clone(),
        splits: splits(&inputs.splits),
        baselines: baselines(comparison),
        candidates: candidates(comparison),
        fine_tune: comparison
            .fine_tuning
            .as_ref()
            .map(|tuned| fine_tuned(tuned, context.stage().as_ref())),
        negative_flips: judgement.evidence.negative_flips,
        diagnosis: related.told(),
        ladder: comparison
            .choice
            .ladder
            .as_ref()
            .map(|steps| steps.iter().map(Into::into).collect()),
        selection: selection(context),
        cost: cost(context, comparison, related.cost),
        timing,
        environment: environment(),
        update,
    };
    let is_of_values = judgement.evidence.is_of_values;
    agreements::tell(&mut report, inputs.splits.unlabelled, is_of_values);

    report
}

fn selection(context: &Context) -> SelectionRule {
    let Selection {
        confidence, margin, ..
    } = context.job.spec.options.selection;

    SelectionRule {
        alphas: ALPHAS.to_vec(),
        statistics_samples: STATISTICS_SAMPLES,
        race_statistics_samples: RACE_STATISTICS,
        samples: context.blocks.as_ref().map(Blocks::samples),
        confidence,
        margin,
    }
}

fn published_model(comparison: &Comparison) -> &'static str {
    if comparison.is_fine_tuned() {
        "fine_tuned"
    } else {
        "transferred"
    }
}

/// The figures that stand for the result, on the split that judges.
fn metrics(context: &Context, comparison: &Comparison, judgement: &Judgement) -> Metrics {
    let (winner, evidence) = (comparison.winner(), &judgement.evidence);
    let judged_on = if context.inputs.splits.test_is_validation {
        "validation"
    } else {
        "test"
    };

    let labelled = evidence.has_labels;
    let is_of_values = evidence.is_of_values;
    let measured = comparison.test().map(|test| Measured {
        split: judged_on.to_owned(),
        accuracy: (labelled && !is_of_values).then_some(test.accuracy),
        r2: (labelled && is_of_values).then_some(test.accuracy),
        loss: labelled.then_some(test.loss),
        agreement: evidence.agreement,
        divergence: evidence.divergence,
        recovery: evidence.recovery,
        source_accuracy: evidence.source.filter(|_| labelled && !is_of_values),
        source_r2: evidence.source.filter(|_| labelled && is_of_values),
        target_accuracy_before: evidence.before.filter(|_| labelled && !is_of_values),
        target_r2_before: evidence.before.filter(|_| labelled && is_of_values),
        target_agreement_before: evidence.before.filter(|_| !labelled),
    });

    Metrics {
        method: winner.method.name().to_owned(),
        step: winner.step,
        alpha: winner.alpha,
        measured,
    }
}

fn head(inputs: &Inputs) -> Option<report::HeadAdopted> {
    inputs.head.as_ref().map(|head| report::HeadAdopted {
        adopted: head.tensors.iter().cloned().collect(),
        left_out: head.left_out.iter().cloned().collect(),
    })
}

fn shared_rows(inputs: &Inputs) -> Vec<report::RowsShared> {
    let shared = inputs.shared_rows.iter().map(|rows| report::RowsShared {
        axis: told::axis(rows.axis).to_owned(),
        tensors: rows.tensors.iter().cloned().collect(),
        source: rows.of,
        target: rows.rows.len(),
        shared: rows.shared(),
        own: rows.own.clone(),
    });
    shared.collect()
}

fn splits(splits: &Splits) -> report::SplitSizes {
    report::SplitSizes {
        train: splits.train.as_ref().map(Dataset::len),
        validation: splits.validation.as_ref().map(Dataset::len),
        test: splits.test.as_ref().map(Dataset::len),
        validation_held_out_of_train: splits.held_out,
        test_is_validation: splits.test_is_validation,
        unlabelled: splits.unlabelled.names().map(str::to_owned).collect(),
    }
}

fn baselines(comparison: &Comparison) -> report::Baselines {
    let Baselines {
        source_tuned,
        target_before,
        restated,
    } = &comparison.baselines;
    let new_statistics = if *restated {
        "re_estimated"
    } else {
        AS_DEPLOYED
    };

    report::Baselines {
        source_tuned: source_tuned
            .as_ref()
            .map(|scores| standing(scores, AS_DEPLOYED)),
        target_before: target_before
            .as_ref()
            .map(|scores| standing(scores, new_statistics)),
        few_shot: comparison.few_shot.as_ref().map(few_shot),
        fine_tune_only: comparison.fine_tune_only.as_ref().map(trained),
        without_pull: comparison
            .fine_tuning
            .as_ref()
            .and_then(|tuned| tuned.without_pull.as_ref())
            .map(trained),
    }
}

const AS_DEPLOYED: &str = "as_deployed";

/// Beside the figures, whose running statistics they rest on.
fn standing(scores: &Scores, statistics: &str) -> report::Standing {
    report::Standing {
        accuracy: Some(scores.test.accuracy),
        loss: Some(scores.test.loss),
        agreement: None,
        r2: None,
        statistics: statistics.to_owned(),
        validation: scores.validation.as_ref().map(Into::into),
    }
}

fn few_shot(few: &FewShot) -> report::Trained {
    report::Trained {
        learning_rate: Some(few.learning_rate),
        samples: Some(few.samples),
        by_old_model: few.by_old_model,
        ..trained(&few.tuned)
    }
}

/// A trained baseline in the form of the others, with what it cost.
fn trained(tuned: &Training) -> report::Trained {
    report::Trained {
        accuracy: tuned.test.as_ref().map(|test| test.accuracy),
        loss: tuned.test.as_ref().map(|test| test.loss),
        agreement: None,
        r2: None,
        validation: tuned.validation.as_ref().map(Into::into),
        epochs: tuned.epochs.iter().map(Into::into).collect(),
        end: told::end(tuned.end).to_owned(),
        sample_gradients: tuned.cost.sample_gradients,
        flops: tuned.cost.flops,
        learning_rate: tuned.trials.as_ref().map(RateTrials::learning_rate),
        samples: None,
        by_old_model: false,
    }
}

fn fine_tuned(tuned: &FineTuning, stage: Option<&Stage>) -> report::FineTuned {
    let FineTuning {
        training,
        chosen,
        barrier,
        ..
    } = tuned;

    report::FineTuned {
        chosen: *chosen,
        end: told::end(training.end).to_owned(),
        epochs: training.epochs.iter().map(Into::into).collect(),
        validation: training.validation.as_ref().map(Into::into),
        test: training.test.as_ref().map(Into::into),
        barrier: barrier.as_ref().map(Into::into),
        sample_gradients: Some(training.cost.sample_gradients),
        flops: Some(training.cost.flops),
        touch_up: stage.and_then(|stage| told::touch_up(training, stage)),
    }
}

fn candidates(comparison: &Comparison) -> Vec<report::Candidate> {
    let ranks = ranks(comparison);
    comparison
        .choice
        .candidates
        .iter()
        .zip(comparison.choice.tests.iter().zip(ranks))
        .map(|(one, (test, rank))| candidate(one, test.as_ref(), rank))
        .collect()
}

/// Each candidate's place by validation, the winner's being 1. Of the others those stand first that were in
/// the race for longest; `None` without validation.
fn ranks(comparison: &Comparison) -> Vec<Option<usize>> {
    let candidates = &comparison.choice.candidates;
    let figures = candidates.iter().map(|one| one.validation.as_ref());
    let mut order: Vec<(usize, &Record)> = figures
        .enumerate()
        .filter_map(|(i, figures)| Some((i, figures?)))
        .collect();
    let chosen = comparison.choice.chosen;
    order.sort_by(|(i, a), (j, b)| {
        (*j == chosen)
            .cmp(&(*i == chosen))
            .then(b.samples().cmp(&a.samples()))
            .then(b.accuracy().total_cmp(&a.accuracy()))
            .then(a.loss().total_cmp(&b.loss()))
    });

    let mut ranks = vec![None; candidates.len()];
    for (place, (i, _)) in order.into_iter().enumerate() {
        ranks[i] = Some(place + 1);
    }

    ranks
}

fn candidate(
    candidate: &Candidate,
    test: Option<&Evaluation>,
    rank: Option<usize>,
) -> report::Candidate {
    report::Candidate {
        method: Some(candidate.method.name().to_owned()),
        rank,
        step: Some(candidate.step),
        alpha: Some(candidate.alpha),
        orthogonal_shift: candidate.orthogonal_shift,
        validation: candidate.validation.as_ref().map(Into::into),
        test: test.map(Into::into),
        last_step: candidate.steps.last().map(Into::into),
        steps: candidate.steps.iter().map(Into::into).collect(),
        alphas: candidate.alphas.iter().map(Into::into).collect(),
        fixed_points: candidate
            .transport
            .permutation()
            .map(Permutation::fixed_points),
        mask: candidate.mask.as_ref().map(Into::into),
        builds_on: candidate.builds_on.map(|method| method.name().to_owned()),
        maps: candidate.maps.as_ref().map(Into::into),
        functional: candidate.functional.as_ref().map(Into::into),
        by_group: candidate.by_group.as_ref().map(Into::into),
        matching: candidate.evidence.iter().map(Into::into).collect(),
        groups: candidate.groups.iter().map(Into::into).collect(),
        sample_gradients: Some(candidate.cost.sample_gradients),
        sample_forwards: Some(candidate.cost.sample_forwards),
        flops: Some(candidate.cost.flops),
    }
}

/// What was spent, beside what one epoch of ordinary training would spend.
fn cost(context: &Context, comparison: &Comparison, diagnosis: Cost) -> report::CostSummary {
    let epoch = context.inputs.splits.train.as_ref().map_or(0, Dataset::len);
    let transfer = comparison.choice.cost.sample_gradients;

    report::CostSummary {
        total: Some(context.cost().into()),
        diagnosis: Some(diagnosis.into()),
        selection: Some(comparison.choice.choosing.into()),
        transfer_sample_gradients: Some(transfer),
        one_epoch_sample_gradients: Some(epoch),
        transfer_over_one_epoch: (epoch > 0).then(|| transfer as f64 / epoch as f64),
        other: serde_json::Map::new(),
    }
}

impl From<Cost> for report::Cost {
    fn from(
        Cost {
            sample_gradients,
            sample_forwards,
            flops,
        }: Cost,
    ) -> Self {
        Self {
            sample_gradients,
            sample_forwards,
            flops,
        }
    }
}

fn environment() -> Environment {
    Environment {
        software: Software::own(),
        device: device_name(),
        threads: rayon::current_num_threads(),
        architecture: std::env::consts::ARCH.to_owned(),
    }
}
