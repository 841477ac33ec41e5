//! Runs the methods on the inputs, one candidate each.

use std::{
    cell::{Cell, RefCell},
    ops::ControlFlow,
    rc::Rc,
};

use super::{
    Failure, Job, Phase,
    diagnose::Diagnosed,
    fetch::{Inputs, device},
    judge::Baselines,
    matching, meter,
    steps::Steps,
};
use crate::{
    engine::{
        learning::{FineTunePlan, Learner, Optimizer},
        ledger::Ledger,
        transfer::{
            Alignment, Candidate, InMemory, Problem, STATISTICS_SAMPLES,
            candidate::{self, Selection},
            ladder::{self, Known, RUNGS},
            methods,
        },
    },
    spec::{self, Method, Methods},
};

/// Inputs, with what computes on them.
pub struct Bench<'a> {
    pub inputs: &'a Inputs,
    pub job: &'a Job<'a>,
    pub learner: Learner<'a>,
    pub ledger: Ledger,
    /// What the methods so far have on disk.
    pub steps: RefCell<Vec<Rc<Steps<'a>>>>,
    /// Whether weight matching was found in the cache; `None` where nobody looked.
    pub cached_matching: Cell<Option<bool>>,
}

impl<'a> Bench<'a> {
    pub fn new(inputs: &'a Inputs, job: &'a Job<'a>) -> Result<Self, Failure> {
        let learner = Learner::new(&inputs.graph, &inputs.signature, device())
            .map_err(super::failure::graph("/target/base", &job.spec.target.base))?;
        let (ledger, steps) = (Ledger::new(meter::now), RefCell::default());
        Ok(Self { inputs, job, learner, ledger, steps, cached_matching: Cell::default() })
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
            shelf: &InMemory,
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

/// What the methods gave.
pub struct Field {
    pub candidates: Vec<Candidate>,
    /// The rungs taken and skipped; `None` where methods were named.
    pub ladder: Option<Vec<ladder::Step>>,
}

/// One candidate a method. Progress counts timesteps over all methods: those matched while
/// `aligning` and those evaluated while `transferring`.
pub fn run(bench: &Bench, diagnosed: &Diagnosed, baselines: &Baselines) -> Result<Field, Failure> {
    let Methods::Named(methods) = &bench.job.spec.methods else {
        return climb(bench, diagnosed, baselines);
    };
    let mut candidates = Vec::with_capacity(methods.len());
    for (position, method) in methods.iter().enumerate() {
        candidates.push(one(bench, (*method, position, methods.len()), None)?);
    }
    Ok(Field { candidates, ladder: None })
}

/// `auto`: rung by rung, as long as the evidence asks for more.
fn climb(bench: &Bench, diagnosed: &Diagnosed, baselines: &Baselines) -> Result<Field, Failure> {
    let splits = &bench.inputs.splits;
    let source = baselines.source_tuned.as_ref().and_then(|s| s.validation.as_ref());
    let diagnosis = &diagnosed.diagnosis;
    let known = Known {
        cosine: diagnosis.base_cosines.matrices,
        fixed_points: diagnosis.relation.as_ref().map_or(0.0, |r| r.fixed_points),
        source_tuned: source.map(|evaluation| evaluation.accuracy),
        has_train: splits.train.is_some(),
    };
    let (mut candidates, mut steps) = (Vec::new(), Vec::new());
    while let Some(mut step) = ladder::next(&known, &steps) {
        tracing::info!(method = step.method.name(), taken = step.taken, reason = step.reason);
        if step.taken {
            let place = (step.method, steps.len(), RUNGS.len());
            let found = (step.method == Method::WeightMatching)
                .then(|| diagnosed.weight_matching.clone())
                .flatten();
            let candidate = one(bench, place, found)?;
            step.validation_accuracy = candidate.validation.as_ref().map(|v| v.accuracy);
            candidates.push(candidate);
        }
        steps.push(step);
    }
    Ok(Field { candidates, ladder: Some(steps) })
}

/// One method's candidate, from the alignment that is `found` already or its own.
fn one(
    bench: &Bench,
    (method, position, methods): (Method, usize, usize),
    found: Option<Alignment>,
) -> Result<Candidate, Failure> {
    let options = &bench.job.spec.options;
    let selection = Selection { step: options.step, alpha: options.alpha };
    let progress = |done: usize, total: usize| {
        bench.advance(position * total + done, methods * total, "timesteps")
    };
    let (cost, start) = (bench.learner.cost(), bench.ledger.now());
    let steps = Rc::new(Steps::of(bench, method));
    bench.steps.borrow_mut().push(Rc::clone(&steps));
    let problem = Problem { shelf: &*steps, ..bench.problem(&progress) };
    bench.job.progress.phase(Phase::Aligning);
    let alignment = match found {
        Some(alignment) => alignment,
        None if method == Method::WeightMatching => matching::weight_matching(bench, &problem)?,
        None => methods::align(method, &problem, bench.fine_tune_plan().as_ref())?,
    };
    bench.job.progress.phase(Phase::Transferring);
    let mut candidate = candidate::select(method, &problem, alignment, selection)?;
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
