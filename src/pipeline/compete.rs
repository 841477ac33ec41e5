//! Runs the methods on the inputs, one candidate each.

use std::ops::ControlFlow;

use super::{
    Failure, Job, Phase,
    fetch::{Inputs, device},
    meter,
};
use crate::{
    engine::{
        learning::{FineTunePlan, Learner, Optimizer},
        ledger::Ledger,
        transfer::{Candidate, Problem, STATISTICS_SAMPLES, candidate::Selection, ladder},
    },
    spec::{self, Method},
};

/// Inputs, with what computes on them.
pub struct Bench<'a> {
    pub inputs: &'a Inputs,
    pub job: &'a Job<'a>,
    pub learner: Learner<'a>,
    pub ledger: Ledger,
}

impl<'a> Bench<'a> {
    pub fn new(inputs: &'a Inputs, job: &'a Job) -> Result<Self, Failure> {
        let learner = Learner::new(&inputs.graph, &inputs.signature, device())
            .map_err(super::failure::graph("/target/base", &job.spec.target.base))?;
        Ok(Self { inputs, job, learner, ledger: Ledger::new(meter::now) })
    }

    /// The problem as the methods see it; `go_on` hears of each timestep.
    pub fn problem<'p>(
        &'p self,
        go_on: &'p dyn Fn(usize, usize) -> ControlFlow<()>,
    ) -> Problem<'p> {
        let (inputs, options) = (self.inputs, &self.job.spec.options);
        Problem {
            learner: &self.learner,
            symmetry: &inputs.symmetry,
            trajectory: &inputs.trajectory,
            target: &inputs.target.checkpoint,
            head: options.head,
            train: inputs.splits.train.as_ref(),
            validation: inputs.splits.validation.as_ref(),
            batch_size: options.batch_size,
            seed: options.seed,
            ledger: &self.ledger,
            go_on,
        }
    }

    /// The budget of training that the specification grants.
    pub fn fine_tune_plan(&self) -> Option<FineTunePlan<'_>> {
        let wanted = self.job.spec.fine_tune.as_ref()?;
        Some(FineTunePlan {
            epochs: wanted.epochs,
            batch_size: wanted.batch_size,
            optimizer: match wanted.optimizer {
                spec::Optimizer::Sgd => Optimizer::Sgd,
                spec::Optimizer::Adamw => Optimizer::AdamW,
            },
            learning_rate: wanted.learning_rate,
            weight_decay: 0.0,
            seed: self.job.spec.options.seed,
            validation: self.inputs.splits.validation.as_ref(),
            stop_at: wanted.stop_at,
            statistics_samples: STATISTICS_SAMPLES,
            snapshots: 0,
        })
    }

    /// Reports progress and says whether to go on.
    pub fn advance(&self, done: usize, total: usize, unit: &'static str) -> ControlFlow<()> {
        self.job.progress.advance(done as u64, total as u64, unit);
        match self.job.progress.go_on() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// One candidate a method. Progress counts timesteps over all methods: those matched while
/// `aligning` and those evaluated while `transferring`.
pub fn run(bench: &Bench) -> Result<Vec<Candidate>, Failure> {
    let spec = bench.job.spec;
    let methods = ladder::methods(&spec.methods, bench.inputs.splits.train.is_some());
    let selection = Selection { step: spec.options.step, alpha: spec.options.alpha };
    let plan = bench.fine_tune_plan();
    let mut candidates = Vec::with_capacity(methods.len());
    for (position, method) in methods.iter().enumerate() {
        let candidate = one(bench, (*method, position, methods.len()), selection, plan.as_ref())?;
        candidates.push(candidate);
    }
    Ok(candidates)
}

fn one(
    bench: &Bench,
    (method, position, methods): (Method, usize, usize),
    selection: Selection,
    plan: Option<&FineTunePlan>,
) -> Result<Candidate, Failure> {
    let progress = |done: usize, total: usize| {
        bench.advance(position * total + done, methods * total, "timesteps")
    };
    let (cost, start) = (bench.learner.cost(), bench.ledger.now());
    let problem = bench.problem(&progress);
    bench.job.progress.phase(Phase::Aligning);
    let alignment = crate::engine::transfer::methods::align(method, &problem, plan)?;
    bench.job.progress.phase(Phase::Transferring);
    let mut candidate =
        crate::engine::transfer::candidate::select(method, &problem, alignment, selection)?;
    candidate.cost = bench.learner.cost() - cost;
    candidate.seconds = bench.ledger.now() - start;
    tracing::info!(
        method = method.name(),
        seconds = candidate.seconds,
        accuracy = candidate.validation.as_ref().map(|v| v.accuracy),
        "candidate"
    );
    Ok(candidate)
}
