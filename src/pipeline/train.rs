//! The short training after a transfer, where the specification grants one.

use std::ops::ControlFlow;

use super::{
    comparison::{Choice, FineTuning, Training},
    context::{Context, Stage},
    failure::Failure,
    job::Stop,
    meter::Seconds,
};
use crate::{
    contract::{outcome::Phase, spec::Methods},
    engine::{
        profiler::Work,
        tensors::Checkpoint,
        training::{Barrier, BarrierPlan, Dataset, End, Event, FineTunePlan, RateTrials},
        transfer::STATISTICS_SAMPLES,
    },
};

/// Samples on which the loss barrier is taken, at most.
pub const BARRIER_SAMPLES: usize = 512;

/// Fine-tunes the winner, where the specification grants training; the result is taken where validation
/// does not speak against it.
pub fn run(context: &Context, choice: &Choice) -> Result<Option<FineTuning>, Failure> {
    let Some(stage) = context.stage() else {
        return Ok(None);
    };
    context.job.progress.phase(Phase::FineTuning);
    let splits = &context.inputs.splits;
    let Some(data) = &splits.train else {
        return Ok(None);
    };

    let winner = choice.winner();
    let training = train(context, &stage, data, &winner.model)?;
    let without_pull = without_pull(context, &stage, &training, &winner.model)?;
    let chosen = match (&training.validation, &winner.validation) {
        (Some(after), Some(before)) => after.accuracy() >= before.accuracy(),
        _ => true,
    };
    let barrier = splits
        .validation
        .as_ref()
        .filter(|_| context.job.spec.options.barrier)
        .map(|validation| barrier(context, data, validation, &winner.model, &training.model));

    Ok(Some(FineTuning {
        training,
        chosen,
        barrier,
        without_pull,
    }))
}

/// The same steps from the same start without the pull, at the learning rate that was chosen; where there
/// was a pull, and under `auto` alone, which compares.
fn without_pull(
    context: &Context,
    stage: &Stage,
    training: &Training,
    start: &Checkpoint,
) -> Result<Option<Training>, Failure> {
    let Some(data) = &context.inputs.splits.train else {
        return Ok(None);
    };
    if context.job.spec.methods != Methods::Auto || stage.plan.pull <= 0.0 {
        return Ok(None);
    }

    let learning_rate = training.learning_rate;
    let plan = FineTunePlan {
        pull: 0.0,
        learning_rate,
        ..stage.plan.clone()
    };

    train(
        context,
        &Stage {
            plan,
            tries_rates: false,
            is_trial: false,
        },
        data,
        start,
    )
    .map(Some)
}

/// Trains from `start` and measures what comes of it; the trials of learning rates are part of the price.
pub fn train(
    context: &Context,
    stage: &Stage,
    data: &Dataset,
    start: &Checkpoint,
) -> Result<Training, Failure> {
    let (cost, began) = (context.cost(), Seconds::read());
    let mut plan = stage.plan.clone();
    let trials = try_rates(context, stage, data, start)?;
    if let Some(trials) = &trials {
        plan.learning_rate = trials.learning_rate();
        tracing::info!(
            learning_rate = plan.learning_rate,
            "the learning rate of least loss"
        );
    }

    let tuned = context.profiler.book(Work::FineTuning, || {
        let mut observe = |event: Event| observed(context, &event);
        context.learner.fine_tune(start, data, &plan, &mut observe)
    });
    if tuned.end == End::Interrupted {
        return Err(Failure::Stopped(Stop::Cancelled));
    }

    let (cost, seconds) = (context.cost() - cost, began.passed());

    let (model, splits) = (tuned.checkpoint, &context.inputs.splits);
    let validation = context.validate(&model);
    let test = splits
        .test
        .as_ref()
        .filter(|_| !stage.is_trial)
        .map(|data| context.evaluate(&model, data));

    Ok(Training {
        model,
        epochs: tuned.epochs,
        learning_rate: plan.learning_rate,
        trials,
        looks: tuned.looks,
        best_look: tuned.best_look,
        end: tuned.end,
        validation,
        test,
        cost,
        seconds,
    })
}

/// The trials of learning rates, where the stage asks for them.
fn try_rates(
    context: &Context,
    stage: &Stage,
    data: &Dataset,
    start: &Checkpoint,
) -> Result<Option<RateTrials>, Failure> {
    if !stage.tries_rates {
        return Ok(None);
    }

    let trials = context.profiler.book(Work::FineTuning, || {
        let mut observe = |event: Event| observed(context, &event);
        context
            .learner
            .try_rates(start, data, &stage.plan, &mut observe)
    });
    trials.map(Some).ok_or(Failure::Stopped(Stop::Cancelled))
}

/// Tells of each step, and says whether to go on.
fn observed(context: &Context, event: &Event) -> ControlFlow<()> {
    match event {
        Event::Step { done, total, .. } => context.advance(*done, *total, "steps"),
        Event::Epoch(_) => ControlFlow::Continue(()),
    }
}

fn barrier(
    context: &Context,
    train: &Dataset,
    data: &Dataset,
    from: &Checkpoint,
    to: &Checkpoint,
) -> Barrier {
    let positions: Vec<usize> = (0..data.len().min(BARRIER_SAMPLES)).collect();
    let data = data.subset(&positions);
    let plan = BarrierPlan {
        data: &data,
        statistics: train,
        statistics_samples: STATISTICS_SAMPLES.min(BARRIER_SAMPLES),
        batch_size: context.job.spec.options.batch_size,
    };
    context.profiler.book(Work::Evaluation, || {
        context.learner.barrier(from, to, &plan)
    })
}
