//! What a transfer must beat: the new base, trained alone at the same cost.
//!
//! Under `auto` only. *Few-shot* is plain training on as many sample gradients as the winner took, its
//! selection included, a forward pass being a third of one; it is skipped where the winner is as good as
//! the old tuned model. Its learning rate is the one that a quarter of that budget prefers. *Fine-tune only* is the job's own training, from
//! the better of few-shot and the new base as it is. Neither is ever published.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{
    Failure, Phase,
    compete::Bench,
    fine_tune::{FineTuning, train},
    judge::Contest,
    meter::Seconds,
};
use crate::{
    contract::spec::Methods,
    engine::{
        learning::{Dataset, Evaluation, FineTunePlan, Optimizer},
        network::Checkpoint,
        transfer::{STATISTICS_SAMPLES, ladder::AS_GOOD},
    },
};

/// Learning rates tried: of `AdamW`, or multiples of the job's own.
pub const RATES: [f64; 4] = [1e-4, 3e-4, 1e-3, 3e-3];
const MULTIPLES: [f64; RATES.len()] = [0.3, 1.0, 3.0, 10.0];
/// Small: what few samples allow is many steps.
pub const BATCH: usize = 32;
/// Of the budget, for each learning rate that is tried.
pub const TRIAL: f64 = 0.25;

/// The new base after plain training at the winner's cost.
pub struct FewShot {
    pub learning_rate: f64,
    /// Training samples used.
    pub samples: usize,
    pub tuned: FineTuning,
    /// With the trials of its learning rates.
    pub seconds: Seconds,
}

/// Trains the new base at the winner's cost.
pub fn few_shot(bench: &Bench, contest: &Contest) -> Result<Option<FewShot>, Failure> {
    let winner = contest.winner();
    let accuracy = |evaluation: &Option<Evaluation>| evaluation.as_ref().map(|e| e.accuracy);
    let source = contest.baselines.source_tuned.as_ref();
    let source = source.and_then(|scores| accuracy(&scores.validation));
    let (Some(data), Some(source), Some(reached)) =
        (&bench.inputs.splits.train, source, accuracy(&winner.validation))
    else {
        return Ok(None);
    };
    let budget = (winner.cost.sample_gradients + winner.cost.sample_forwards / 3) as usize;
    if bench.job.spec.methods != Methods::Auto || budget == 0 || reached >= source - AS_GOOD - 1e-9
    {
        return Ok(None);
    }
    bench.job.progress.phase(Phase::FineTuning);
    let began = Seconds::read();
    let mut best: Option<(usize, FewShot)> = None;
    for rate in 0..RATES.len() {
        let trial = spend(bench, data, ((budget as f64 * TRIAL) as usize, rate))?;
        if best.as_ref().is_none_or(|(_, best)| better(&trial.tuned, &best.tuned)) {
            best = Some((rate, trial));
        }
    }
    let Some((rate, _)) = best else { return Ok(None) };
    let few = spend(bench, data, (budget, rate))?;
    Ok(Some(FewShot { seconds: began.passed(), ..few }))
}

fn better(a: &FineTuning, b: &FineTuning) -> bool {
    match (&a.validation, &b.validation) {
        (Some(a), Some(b)) => (a.accuracy, -a.loss) > (b.accuracy, -b.loss),
        _ => false,
    }
}

/// Trains on `budget` sample gradients, of different samples as far as there are, at the learning
/// rate in position `rate`.
fn spend(
    bench: &Bench,
    data: &Dataset,
    (budget, rate): (usize, usize),
) -> Result<FewShot, Failure> {
    let mut order: Vec<usize> = (0..data.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(bench.job.spec.options.seed));
    order.truncate(budget.max(1));
    let samples = order.len();
    let plan = FineTunePlan { epochs: (budget / samples).max(1), ..plan(bench, rate) };
    let tuned = train(bench, (&plan, &data.subset(&order)), &bench.inputs.target.checkpoint)?;
    let seconds = tuned.seconds;
    Ok(FewShot { learning_rate: plan.learning_rate, samples, tuned, seconds })
}

/// The job's own training at a multiple of its learning rate, or `AdamW`.
fn plan<'a>(bench: &'a Bench, rate: usize) -> FineTunePlan<'a> {
    let own = bench
        .fine_tune_plan()
        .map(|plan| FineTunePlan { learning_rate: MULTIPLES[rate] * plan.learning_rate, ..plan });
    let own = own.unwrap_or(FineTunePlan {
        epochs: 1,
        batch_size: BATCH,
        optimizer: Optimizer::AdamW,
        learning_rate: RATES[rate],
        weight_decay: 0.0,
        seed: bench.job.spec.options.seed,
        validation: None,
        stop_at: None,
        statistics_samples: STATISTICS_SAMPLES,
        snapshots: 0,
    });
    // The end is looked at anyway.
    FineTunePlan { batch_size: own.batch_size.min(BATCH), validation: None, stop_at: None, ..own }
}

/// The job's own training without a transfer.
pub fn fine_tune_only(bench: &Bench, contest: &Contest) -> Result<Option<FineTuning>, Failure> {
    let plan = bench.fine_tune_plan();
    let (Some(plan), Some(data)) = (plan, &bench.inputs.splits.train) else { return Ok(None) };
    if bench.job.spec.methods != Methods::Auto {
        return Ok(None);
    }
    train(bench, (&plan, data), start(bench, contest)).map(Some)
}

/// The better of few-shot and the new base as it is, by validation.
fn start<'a>(bench: &'a Bench, contest: &'a Contest) -> &'a Checkpoint {
    let untouched = contest.baselines.target_before.as_ref();
    let untouched = untouched.and_then(|scores| scores.validation.as_ref());
    let ahead = |few: &&FewShot| {
        let few = few.tuned.validation.as_ref();
        few.zip(untouched).is_none_or(|(few, untouched)| few.accuracy >= untouched.accuracy)
    };
    let few = contest.few_shot.as_ref().filter(ahead);
    few.map_or(&bench.inputs.target.checkpoint, |few| &few.tuned.model)
}
