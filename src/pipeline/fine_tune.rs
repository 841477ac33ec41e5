//! The short training after a transfer, where the specification grants one.

use std::ops::ControlFlow;

use super::{Failure, Stop, compete::Bench, judge::Contest, meter::Seconds};
use crate::engine::{
    learning::{Barrier, BarrierPlan, Cost, Dataset, End, Epoch, Evaluation, Event, FineTunePlan},
    ledger::Work,
    network::Checkpoint,
    transfer::STATISTICS_SAMPLES,
};

/// Samples on which the loss barrier is taken, at most.
const BARRIER_SAMPLES: usize = 512;

/// A model, fine-tuned.
pub struct FineTuning {
    pub model: Checkpoint,
    pub epochs: Vec<Epoch>,
    pub end: End,
    pub validation: Option<Evaluation>,
    pub test: Option<Evaluation>,
    /// It is the winner and validation says that it is at least as good as before.
    pub chosen: bool,
    /// Between the transferred model and this one: are they in one basin? Of the winner only.
    pub barrier: Option<Barrier>,
    pub cost: Cost,
    pub seconds: Seconds,
}

/// Fine-tunes the winner and takes the result where validation does not speak against it.
pub fn run(bench: &Bench, contest: &mut Contest) -> Result<(), Failure> {
    let splits = &bench.inputs.splits;
    let (Some(plan), Some(data)) = (bench.fine_tune_plan(), &splits.train) else { return Ok(()) };
    let winner = contest.winner();
    let mut tuned = train(bench, (&plan, data), &winner.model)?;
    tuned.chosen = match (&tuned.validation, &winner.validation) {
        (Some(after), Some(before)) => after.accuracy >= before.accuracy,
        _ => true,
    };
    tuned.barrier = splits
        .validation
        .as_ref()
        .map(|validation| barrier(bench, data, validation, (&winner.model, &tuned.model)));
    contest.fine_tuning = Some(tuned);
    Ok(())
}

/// Trains from `start` and measures what comes of it.
pub fn train(
    bench: &Bench,
    (plan, data): (&FineTunePlan, &Dataset),
    start: &Checkpoint,
) -> Result<FineTuning, Failure> {
    let mut observe = |event: Event| match event {
        Event::Step { done, total, .. } => bench.advance(done, total, "steps"),
        Event::Epoch(_) => ControlFlow::Continue(()),
    };
    let (cost, began) = (bench.cost(), Seconds::read());
    let tuned = bench
        .ledger
        .book(Work::FineTuning, || bench.learner.fine_tune(start, data, plan, &mut observe));
    if tuned.end == End::Interrupted {
        return Err(Failure::Stopped(Stop::Cancelled));
    }
    let (cost, seconds) = (bench.cost() - cost, began.passed());
    let evaluate = |data: &Option<Dataset>| {
        let data = data.as_ref()?;
        let run = || bench.learner.evaluate(&tuned.checkpoint, data);
        Some(bench.ledger.book(Work::Evaluation, run))
    };
    let splits = &bench.inputs.splits;
    let (validation, test) = (evaluate(&splits.validation), evaluate(&splits.test));
    let (model, epochs, end) = (tuned.checkpoint, tuned.epochs, tuned.end);
    let (chosen, barrier) = (false, None);
    Ok(FineTuning { model, epochs, end, validation, test, chosen, barrier, cost, seconds })
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
