//! A running transfer: its inputs, with what computes on them.

use std::{
    cell::{Cell, RefCell},
    ops::ControlFlow,
    rc::Rc,
};

use super::{
    cache::{DiskGradients, Origin},
    device::device,
    failure::{self, Failure},
    inputs::Inputs,
    job::Job,
    meter,
};
use crate::{
    contract::spec,
    engine::{
        profiler::{Profiler, Work},
        tensors::Checkpoint,
        training::{Cost, Dataset, Evaluation, FineTunePlan, Learner},
        transfer::{InMemory, Problem, STATISTICS_SAMPLES, functional::Unkept},
    },
};

/// Inputs, with what computes on them.
pub struct Context<'a> {
    pub inputs: &'a Inputs,
    pub job: &'a Job<'a>,
    pub learner: Learner<'a>,
    /// Runs the source's models, where they differ in width.
    pub source: Option<Learner<'a>>,
    pub ledger: Profiler,
    /// What the methods so far have on disk.
    pub gradients: RefCell<Vec<Rc<DiskGradients<'a>>>>,
    /// Where the π of the bases' weights came from; `None` where nobody asked the cache.
    pub weight_matching: Cell<Option<Origin>>,
}

impl<'a> Context<'a> {
    pub fn new(inputs: &'a Inputs, job: &'a Job<'a>) -> Result<Self, Failure> {
        let learner = Learner::new(&inputs.graph, &inputs.signature, device())
            .map_err(failure::graph("/target/base", &job.spec.target.base))?;
        let source = inputs.source.as_ref().map(|(graph, signature)| {
            Learner::new(graph, signature, device())
                .map_err(failure::graph("/source/base", &job.spec.source.base))
        });
        let (source, ledger) = (source.transpose()?, Profiler::new(meter::now));
        let (gradients, weight_matching) = (RefCell::default(), Cell::default());
        Ok(Self { inputs, job, learner, source, ledger, gradients, weight_matching })
    }

    /// What was computed so far, on either network.
    pub fn cost(&self) -> Cost {
        self.source.as_ref().map_or_else(Cost::default, Learner::cost) + self.learner.cost()
    }

    /// The problem as the methods see it; `go_on` hears of each timestep.
    pub fn problem<'p>(
        &'p self,
        go_on: &'p dyn Fn(usize, usize) -> ControlFlow<()>,
    ) -> Problem<'p> {
        let (inputs, options) = (self.inputs, &self.job.spec.options);
        Problem {
            learner: &self.learner,
            source: self.source.as_ref(),
            symmetry: &inputs.symmetry,
            trajectory: &inputs.trajectory,
            target: &inputs.target.checkpoint,
            head: options.head.into(),
            orthogonal_shift: options.orthogonal_shift,
            train: inputs.splits.train.as_ref(),
            validation: inputs.splits.validation.as_ref(),
            batch_size: options.batch_size,
            weight_anchor: options.weight_anchor,
            start: None,
            seed: options.seed,
            ledger: &self.ledger,
            shelf: &InMemory,
            fits: &Unkept,
            go_on,
        }
    }

    /// The budget of training that the specification grants.
    pub fn fine_tune_plan(&self) -> Option<FineTunePlan<'_>> {
        Some(self.plan(self.job.spec.fine_tune.as_ref()?))
    }

    /// With what the oracle fine-tunes the target first: the same, or the default budget.
    pub fn oracle_plan(&self) -> FineTunePlan<'_> {
        self.plan(&self.job.spec.fine_tune.clone().unwrap_or_default())
    }

    fn plan(&self, wanted: &spec::FineTune) -> FineTunePlan<'_> {
        FineTunePlan {
            epochs: wanted.epochs,
            batch_size: wanted.batch_size,
            optimizer: wanted.optimizer.into(),
            learning_rate: wanted.learning_rate,
            weight_decay: 0.0,
            seed: self.job.spec.options.seed,
            validation: self.inputs.splits.validation.as_ref(),
            stop_at: wanted.stop_at,
            statistics_samples: STATISTICS_SAMPLES,
            snapshots: 0,
        }
    }

    /// Loss and accuracy of a model that the target's network runs.
    pub fn evaluate(&self, model: &Checkpoint, data: &Dataset) -> Evaluation {
        self.evaluate_by(&self.learner, model, data)
    }

    /// The same on a network of the caller's.
    pub fn evaluate_by(&self, learner: &Learner, model: &Checkpoint, data: &Dataset) -> Evaluation {
        self.ledger.book(Work::Evaluation, || learner.evaluate(model, data))
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
