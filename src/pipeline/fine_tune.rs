//! The short training after a transfer, where the specification grants one.

use std::ops::ControlFlow;

use super::{Failure, Stop, compete::Bench, judge::Contest};
use crate::engine::{
    learning::{Barrier, BarrierPlan, Cost, Dataset, End, Epoch, Evaluation, Event},
    ledger::Work,
    network::Checkpoint,
    transfer::STATISTICS_SAMPLES,
};

/// Samples on which the loss barrier is taken, at most.
const BARRIER_SAMPLES: usize = 512;

/// The winner, fine-tuned.
pub struct FineTuning {
    pub model: Checkpoint,
    pub epochs: Vec<Epoch>,
    pub end: End,
    pub validation: Option<Evaluation>,
    pub test: Option<Evaluation>,
    /// Validation says that it is at least as good as the winner itself.
    pub chosen: bool,
    /// Between the transferred model and this one: are they in one basin?
    pub barrier: Option<Barrier>,
    pub cost: Cost,
    pub seconds: f64,
}

/// Fine-tunes the winner and takes the result where validation does not speak against it.
pub fn run(bench: &Bench, contest: &mut Contest) -> Result<(), Failure> {
    let splits = &bench.inputs.splits;
    let (Some(plan), Some(train)) = (bench.fine_tune_plan(), &splits.train) else { return Ok(()) };
    let mut observe = |event: Event| match event {
        Event::Step { done, total, .. } => bench.advance(done, total, "steps"),
        Event::Epoch(_) => ControlFlow::Continue(()),
    };
    let winner = contest.winner();
    let (cost, start) = (bench.learner.cost(), bench.ledger.now());
    let tuned = bench.ledger.book(Work::FineTuning, || {
        bench.learner.fine_tune(&winner.model, train, &plan, &mut observe)
    });
    if tuned.end == End::Interrupted {
        return Err(Failure::Stopped(Stop::Cancelled));
    }
    let (cost, seconds) = (bench.learner.cost() - cost, bench.ledger.now() - start);
    let evaluate = |data: &Option<Dataset>| {
        let data = data.as_ref()?;
        Some(
            bench.ledger.book(Work::Evaluation, || bench.learner.evaluate(&tuned.checkpoint, data)),
        )
    };
    let (validation, test) = (evaluate(&splits.validation), evaluate(&splits.test));
    let chosen = match (&validation, &winner.validation) {
        (Some(after), Some(before)) => after.accuracy >= before.accuracy,
        _ => true,
    };
    let barrier = splits
        .validation
        .as_ref()
        .map(|data| barrier(bench, train, data, (&winner.model, &tuned.checkpoint)));
    let (model, epochs, end) = (tuned.checkpoint, tuned.epochs, tuned.end);
    contest.fine_tuning =
        Some(FineTuning { model, epochs, end, validation, test, chosen, barrier, cost, seconds });
    Ok(())
}

fn barrier(
    bench: &Bench,
    train: &Dataset,
    data: &Dataset,
    (from, to): (&Checkpoint, &Checkpoint),
) -> Barrier {
    let positions: Vec<usize> = (0..data.len().min(BARRIER_SAMPLES)).collect();
    let data = data.subset(&positions);
    let plan = BarrierPlan {
        data: &data,
        statistics: train,
        statistics_samples: STATISTICS_SAMPLES.min(BARRIER_SAMPLES),
        batch_size: bench.job.spec.options.batch_size,
    };
    bench.ledger.book(Work::Evaluation, || bench.learner.barrier(from, to, &plan))
}
