//! What a transfer must beat: the new base, trained alone at the same cost.
//!
//! Under `auto` only. *Few-shot* is plain training on as many sample gradients as the whole choice took, every
//! rung that was tried and its selection included, a forward pass being a third of one; it is skipped where
//! the winner is within the margin of the old tuned model. Its learning rate is the one that a quarter of that
//! budget prefers. Samples without labels are trained on by the old tuned model's probabilities (REFRESH), whose
//! forward passes are paid from the same budget. *Fine-tune only* is the job's own training, from the better of
//! few-shot and the new base as it is. Neither is ever published.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{
    comparison::{Baselines, Choice, FewShot, Training},
    context::{Context, Stage},
    failure::Failure,
    meter::Seconds,
    train::train,
};
use crate::{
    contract::{outcome::Phase, spec::Methods},
    engine::{
        tensors::Checkpoint,
        training::{Cost, Dataset, FineTunePlan, Optimizer},
        transfer::race::Record,
    },
};

/// Learning rates tried: of `AdamW`, or multiples of the job's own.
pub const LEARNING_RATES: [f64; 4] = [1e-4, 3e-4, 1e-3, 3e-3];
const RATE_MULTIPLES: [f64; LEARNING_RATES.len()] = [0.3, 1.0, 3.0, 10.0];
/// Small: what few samples allow is many steps.
pub const BATCH_SAMPLES: usize = 32;
/// Of the budget, for each learning rate that is tried.
pub const TRIAL_SHARE: f64 = 0.25;

/// What the new base reaches without a transfer; `None` where that was not compared.
pub struct Retrained {
    pub few_shot: Option<FewShot>,
    pub fine_tune_only: Option<Training>,
}

/// Trains the new base alone: few-shot first, for the job's own training may start from it.
///
/// # Errors
/// When the job is stopped.
pub fn run(
    context: &Context,
    choice: &Choice,
    baselines: &Baselines,
) -> Result<Retrained, Failure> {
    let few_shot = few_shot(context, choice, baselines)?;
    let fine_tune_only = fine_tune_only(context, baselines, few_shot.as_ref())?;
    Ok(Retrained {
        few_shot,
        fine_tune_only,
    })
}

/// Trains the new base at the cost of the whole choice.
fn few_shot(
    context: &Context,
    choice: &Choice,
    baselines: &Baselines,
) -> Result<Option<FewShot>, Failure> {
    let winner = choice.winner();
    let source = baselines.source_tuned.as_ref();
    let source = source.and_then(|scores| accuracy(scores.validation.as_ref()));
    let (Some(data), Some(source), Some(reached)) = (
        &context.inputs.splits.train,
        source,
        accuracy(winner.validation.as_ref()),
    ) else {
        return Ok(None);
    };

    let refresh = context.inputs.splits.unlabelled.train;
    let budget = budget(&choice.cost, refresh);
    let margin = context.job.spec.options.selection.margin;
    if context.job.spec.methods != Methods::Auto || budget == 0 || reached >= source - margin - 1e-9
    {
        return Ok(None);
    }

    context.job.progress.phase(Phase::FineTuning);
    let began = Seconds::read();
    let mut best: Option<(usize, FewShot)> = None;
    for rate in 0..LEARNING_RATES.len() {
        let stage = Stage {
            is_trial: true,
            ..stage(context, rate)
        };
        let trial = spend(context, data, (budget as f64 * TRIAL_SHARE) as usize, stage)?;
        if best
            .as_ref()
            .is_none_or(|(_, best)| better(&trial.tuned, &best.tuned))
        {
            best = Some((rate, trial));
        }
    }

    let Some((rate, _)) = best else {
        return Ok(None);
    };
    let few = spend(context, data, budget, stage(context, rate))?;

    Ok(Some(FewShot {
        seconds: began.passed(),
        ..few
    }))
}

/// Sample gradients that cost as much as the choice. A forward pass is a third of one, and a gradient towards
/// the old tuned model's probabilities comes with a pass of that model.
fn budget(choice: &Cost, refresh: bool) -> usize {
    let thirds = 3 * choice.sample_gradients + choice.sample_forwards;
    (thirds / if refresh { 4 } else { 3 }) as usize
}

fn accuracy(record: Option<&Record>) -> Option<f64> {
    record.map(Record::accuracy)
}

fn better(a: &Training, b: &Training) -> bool {
    match (&a.validation, &b.validation) {
        (Some(a), Some(b)) => (a.accuracy(), -a.loss()) > (b.accuracy(), -b.loss()),
        _ => false,
    }
}

/// Trains on `budget` sample gradients, of different samples as far as there are.
fn spend(
    context: &Context,
    data: &Dataset,
    budget: usize,
    stage: Stage,
) -> Result<FewShot, Failure> {
    let mut order: Vec<usize> = (0..data.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(
        context.job.spec.options.seed,
    ));
    order.truncate(budget.max(1));
    let samples = order.len();
    let plan = FineTunePlan {
        epochs: (budget / samples).max(1),
        ..stage.plan
    };

    let stage = Stage { plan, ..stage };
    let tuned = train(
        context,
        &stage,
        &data.subset(&order),
        &context.inputs.target.checkpoint,
    )?;
    let seconds = tuned.seconds;
    let by_old_model = context.inputs.splits.unlabelled.train;

    Ok(FewShot {
        learning_rate: tuned.learning_rate,
        samples,
        by_old_model,
        tuned,
        seconds,
    })
}

/// Training alone at the learning rate in this position.
fn stage<'a>(context: &'a Context, rate: usize) -> Stage<'a> {
    Stage {
        plan: plan(context, rate),
        tries_rates: false,
        is_trial: false,
    }
}

/// The job's own training at a multiple of its learning rate, or `AdamW`.
fn plan<'a>(context: &'a Context, rate: usize) -> FineTunePlan<'a> {
    let own = context.stage().map(|Stage { plan, .. }| FineTunePlan {
        learning_rate: RATE_MULTIPLES[rate] * plan.learning_rate,
        ..plan
    });
    let own = own.unwrap_or(FineTunePlan {
        batch_size: BATCH_SAMPLES,
        seed: context.job.spec.options.seed,
        ..FineTunePlan::new(Optimizer::AdamW, 1, LEARNING_RATES[rate])
    });
    // The end is looked at anyway, and there is nothing to be pulled to.
    let refresh = context.inputs.splits.unlabelled.train;

    FineTunePlan {
        batch_size: own.batch_size.min(BATCH_SAMPLES),
        teacher: own.teacher.or_else(|| refresh.then(|| context.old_model())),
        validation: None,
        looks: None,
        stop_at: None,
        pull: 0.0,
        ..own
    }
}

/// The job's own training without a transfer, with a learning rate of its own where trials choose it. There
/// is nothing to be pulled to.
fn fine_tune_only(
    context: &Context,
    baselines: &Baselines,
    few_shot: Option<&FewShot>,
) -> Result<Option<Training>, Failure> {
    let stage = context.stage();
    let (Some(mut stage), Some(data)) = (stage, &context.inputs.splits.train) else {
        return Ok(None);
    };
    if context.job.spec.methods != Methods::Auto {
        return Ok(None);
    }

    stage.plan.pull = 0.0;
    train(context, &stage, data, start(context, baselines, few_shot)).map(Some)
}

/// The better of few-shot and the new base as it is, by validation.
fn start<'a>(
    context: &'a Context,
    baselines: &Baselines,
    few_shot: Option<&'a FewShot>,
) -> &'a Checkpoint {
    let untouched = baselines.target_before.as_ref();
    let untouched = untouched.and_then(|scores| scores.validation.as_ref());
    let few = few_shot.filter(|few| {
        let few = few.tuned.validation.as_ref();
        few.zip(untouched)
            .is_none_or(|(few, untouched)| few.accuracy() >= untouched.accuracy())
    });
    few.map_or(&context.inputs.target.checkpoint, |few| &few.tuned.model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_teacher_is_paid_from_the_same_budget() {
        let choice = Cost {
            sample_gradients: 30,
            sample_forwards: 90,
            flops: 0.0,
        };
        assert_eq!(budget(&choice, false), 60, "30 and a third of 90");
        assert_eq!(budget(&choice, true), 45, "each gradient costs 4/3");
    }
}
