//! Runs the methods on the inputs, one candidate each.

use std::{
    cell::{Cell, RefCell},
    ops::ControlFlow,
    rc::Rc,
};

use super::{
    Failure, Job, Phase, device,
    diagnose::Diagnosed,
    fetch::Inputs,
    judge::{Baselines, Scores},
    matching::{self, Origin},
    meter::{self, Seconds},
    steps::Steps,
};
use crate::{
    contract::spec::{self, Methods},
    engine::{
        learning::{Cost, FineTunePlan, Learner},
        ledger::Ledger,
        symmetry::Permutation,
        transfer::{
            Alignment, Candidate, InMemory, Method, Problem, STATISTICS_SAMPLES,
            candidate::{self, Selection},
            ladder::{self, Known},
            methods,
        },
    },
};

/// Inputs, with what computes on them.
pub struct Bench<'a> {
    pub inputs: &'a Inputs,
    pub job: &'a Job<'a>,
    pub learner: Learner<'a>,
    /// Runs the source's models, where they differ in width.
    pub source: Option<Learner<'a>>,
    pub ledger: Ledger,
    /// What the methods so far have on disk.
    pub steps: RefCell<Vec<Rc<Steps<'a>>>>,
    /// Where the π of the bases' weights came from; `None` where nobody asked the cache.
    pub matching: Cell<Option<Origin>>,
}

impl<'a> Bench<'a> {
    pub fn new(inputs: &'a Inputs, job: &'a Job<'a>) -> Result<Self, Failure> {
        let learner = Learner::new(&inputs.graph, &inputs.signature, device())
            .map_err(super::failure::graph("/target/base", &job.spec.target.base))?;
        let source = inputs.source.as_ref().map(|(graph, signature)| {
            Learner::new(graph, signature, device())
                .map_err(super::failure::graph("/source/base", &job.spec.source.base))
        });
        let (source, ledger) = (source.transpose()?, Ledger::new(meter::now));
        let (steps, matching) = (RefCell::default(), Cell::default());
        Ok(Self { inputs, job, learner, source, ledger, steps, matching })
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
            go_on,
        }
    }

    /// The budget of training that the specification grants.
    pub fn fine_tune_plan(&self) -> Option<FineTunePlan<'_>> {
        Some(self.plan(self.job.spec.fine_tune.as_ref()?))
    }

    /// With what the oracle fine-tunes the target first: the same, or the default budget.
    fn oracle_plan(&self) -> FineTunePlan<'_> {
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
    /// What each candidate took of the processors, with all that it builds upon.
    pub cpu_seconds: Vec<f64>,
    /// What all of them took together: what two build upon was computed once.
    pub cost: Cost,
    /// The rungs taken and skipped; `None` where methods were named.
    pub ladder: Option<Vec<ladder::Step>>,
}

/// One candidate a method. Progress counts within the phase of one method: timesteps evaluated while
/// `transferring`, and while `aligning` what each takes (see [`Work`]).
pub fn run(bench: &Bench, diagnosed: &Diagnosed, baselines: &Baselines) -> Result<Field, Failure> {
    let before = bench.cost();
    let mut found = Found { bench, alignments: Vec::new(), cpu_seconds: Vec::new(), shifts: false };
    // Booked as diagnosis: the ladder has it for nothing.
    if let Some(alignment) = diagnosed.weight_matching.clone() {
        let (cost, seconds) = (Cost::default(), Seconds::default());
        let aligned = Aligned { alignment, cost, seconds };
        found.alignments.push((Method::WeightMatching, aligned));
    }
    let (candidates, ladder) = match &bench.job.spec.methods {
        Methods::Auto => {
            let (candidates, steps) = climb(&mut found, diagnosed, baselines)?;
            (candidates, Some(steps))
        }
        Methods::Named(methods) => (found.named(methods)?, None),
    };
    Ok(Field { candidates, cpu_seconds: found.cpu_seconds, cost: bench.cost() - before, ladder })
}

/// `auto`: rung by rung, as long as the evidence asks for more.
fn climb(
    found: &mut Found,
    diagnosed: &Diagnosed,
    baselines: &Baselines,
) -> Result<(Vec<Candidate>, Vec<ladder::Step>), Failure> {
    let bench = found.bench;
    let validation = |scores: &'_ Option<Scores>| scores.as_ref()?.validation.clone();
    let diagnosis = &diagnosed.diagnosis;
    let known = Known {
        cosine: diagnosis.base_cosines.matrices,
        fixed_points: diagnosis.relation.as_ref().map_or(0.0, |r| r.fixed_points),
        source_tuned: validation(&baselines.source_tuned).map(|evaluation| evaluation.accuracy),
        has_train: bench.inputs.splits.train.is_some(),
        across_widths: bench.inputs.source.is_some(),
        target_loss: validation(&baselines.target_before).map(|evaluation| evaluation.loss),
        loss_of_guessing: (bench.learner.classes() as f64).ln(),
    };
    // Onto the same base it changes nothing.
    found.shifts = known.one_lineage() && !diagnosis.identical_bases;
    let (mut candidates, mut steps) = (Vec::<Candidate>::new(), Vec::new());
    while let Some(mut step) = ladder::next(&known, &steps) {
        tracing::info!(method = step.method.name(), taken = step.taken, reason = step.reason);
        if step.taken {
            let leader = ladder::best(&candidates).map(|best| candidates[best].method);
            let on = leader.unwrap_or(Method::Identity);
            let candidate = found.candidate(step.method, on)?;
            step.validation_accuracy = candidate.validation.as_ref().map(|v| v.accuracy);
            candidates.push(candidate);
        }
        steps.push(step);
    }
    Ok((candidates, steps))
}

/// What a timestep of a method takes, so that progress grows with time and its pace tells the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// The same at every step.
    Even,
    /// GMT draws and compares the pairs of all steps before, at every step anew.
    Growing,
}

impl Work {
    fn of(method: Method) -> Self {
        if method == Method::Gmt { Self::Growing } else { Self::Even }
    }

    /// What the first so many timesteps take, in [`Work::unit`]s.
    fn within(self, timesteps: usize) -> usize {
        match self {
            Self::Even => timesteps,
            Self::Growing => timesteps.saturating_mul(timesteps + 1) / 2,
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Even => "timesteps",
            Self::Growing => "gradient pairs",
        }
    }
}

/// The alignments found so far: a method that builds upon another's need not find it again.
struct Found<'b, 'a> {
    bench: &'b Bench<'a>,
    alignments: Vec<(Method, Aligned)>,
    /// Of the candidates so far.
    cpu_seconds: Vec<f64>,
    /// Identity is tried with the orthogonal shift too, whatever the specification says.
    shifts: bool,
}

/// An alignment and what it cost, with all that it builds upon.
#[derive(Clone)]
struct Aligned {
    alignment: Alignment,
    cost: Cost,
    seconds: Seconds,
}

impl Found<'_, '_> {
    fn named(&mut self, methods: &[spec::Method]) -> Result<Vec<Candidate>, Failure> {
        let gradfix_on = self.bench.job.spec.options.gradfix_on.into();
        methods.iter().map(|method| self.candidate((*method).into(), gradfix_on)).collect()
    }

    /// A method's alignment, found now or before, on that which it builds upon.
    fn aligned(&mut self, method: Method, gradfix_on: Method) -> Result<Aligned, Failure> {
        if let Some((_, aligned)) = self.alignments.iter().find(|(m, _)| *m == method) {
            return Ok(aligned.clone());
        }
        let bench = self.bench;
        let on = match methods::builds_on(method, gradfix_on, bench.source.is_some()) {
            Some(on) => Some(self.aligned(on, gradfix_on)?),
            None => None,
        };
        let (before, start) = (bench.cost(), Seconds::read());
        let steps = Rc::new(Steps::of(bench, method));
        bench.steps.borrow_mut().push(Rc::clone(&steps));
        let work = Work::of(method);
        let progress =
            |done, total| bench.advance(work.within(done), work.within(total), work.unit());
        let problem = Problem { shelf: &*steps, start: self.start(), ..bench.problem(&progress) };
        let alignment = if method == Method::WeightMatching {
            matching::weight_matching(bench, &problem)?
        } else {
            let on = on.as_ref().map(|on| &on.alignment);
            methods::align(method, &problem, on, Some(&bench.oracle_plan()))?
        };
        let mut aligned =
            Aligned { alignment, cost: bench.cost() - before, seconds: start.passed() };
        if let Some(on) = on {
            aligned.cost = aligned.cost + on.cost;
            aligned.seconds = aligned.seconds + on.seconds;
        }
        self.alignments.push((method, aligned.clone()));
        Ok(aligned)
    }

    /// The π of the bases' weights, which `auto` has from its diagnosis. A named method is the same
    /// whatever is named beside it.
    fn start(&self) -> Option<&Permutation> {
        let is_auto = matches!(self.bench.job.spec.methods, Methods::Auto);
        let found = self.alignments.iter().find(|(m, _)| is_auto && *m == Method::WeightMatching);
        found.and_then(|(_, aligned)| aligned.alignment.transports.last()?.permutation())
    }

    /// One method's candidate.
    fn candidate(&mut self, method: Method, gradfix_on: Method) -> Result<Candidate, Failure> {
        let bench = self.bench;
        let options = &bench.job.spec.options;
        let selection = Selection { step: options.step.into(), alpha: options.alpha.into() };
        bench.job.progress.phase(Phase::Aligning);
        let Aligned { alignment, cost, seconds } = self.aligned(method, gradfix_on)?;
        bench.job.progress.phase(Phase::Transferring);
        let (before, start) = (bench.cost(), Seconds::read());
        let progress = |done, total| bench.advance(done, total, "timesteps");
        let problem = bench.problem(&progress);
        let mut candidate = candidate::select(method, &problem, alignment.clone(), selection)?;
        if self.shifts && method == Method::Identity && !problem.orthogonal_shift {
            let problem = Problem { orthogonal_shift: true, ..problem };
            let shifted = candidate::select(method, &problem, alignment, selection)?;
            let mut both = vec![candidate, shifted];
            candidate = both.swap_remove(ladder::best(&both).unwrap_or(0));
        }
        candidate.cost = cost + (bench.cost() - before);
        let seconds = seconds + start.passed();
        candidate.seconds = seconds.wall;
        self.cpu_seconds.push(seconds.cpu);
        candidate.builds_on = methods::builds_on(method, gradfix_on, bench.source.is_some());
        tracing::info!(
            method = method.name(),
            seconds = candidate.seconds,
            accuracy = candidate.validation.as_ref().map(|v| v.accuracy),
            "candidate"
        );
        Ok(candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At T = 400, 6 steps are no 6/400 of the time: the pace of pairs tells the end.
    #[test]
    fn progress_of_gmt_grows_with_its_pairs_of_gradients() {
        let gmt = Work::of(Method::Gmt);
        assert_eq!((gmt.within(0), gmt.within(6), gmt.within(400)), (0, 21, 80_200));
        assert_eq!(gmt.unit(), "gradient pairs");
        let others = Work::of(Method::Fgmt);
        assert_eq!((others.within(6), others.within(400), others.unit()), (6, 400, "timesteps"));
    }
}
