//! From an alignment to one model: the best step, then the best α, by validation.

use serde::Serialize;

use super::{
    alignment::Alignment,
    error::TransferError,
    evidence::{Evidence, FunctionalEvidence, GroupEvidence, MapEvidence, Mask},
    options::{Alpha, Method, Step},
    problem::Problem,
    transport::Transport,
};
use crate::{
    profiler::Work,
    tensors::Checkpoint,
    training::{Cost, Dataset, Evaluation},
};

/// The α that `alpha: search` tries; 1 is the step that was matched and wins ties.
pub const ALPHAS: [f64; 7] = [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0];

/// A transferred model and how it was chosen.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub method: Method,
    /// `s*`
    pub step: usize,
    pub alpha: f64,
    /// Updates were made orthogonal to what lies between the bases.
    pub orthogonal_shift: bool,
    pub transport: Transport,
    pub model: Checkpoint,
    /// On the validation split.
    pub validation: Option<Evaluation>,
    /// Validation by step, at α = 1.
    pub steps: Vec<Score>,
    /// Validation by α, at the chosen step.
    pub alphas: Vec<(f64, Score)>,
    pub evidence: Vec<Evidence>,
    pub groups: Vec<GroupEvidence>,
    /// The method whose alignment this one's builds upon.
    pub builds_on: Option<Method>,
    pub mask: Option<Mask>,
    pub maps: Option<MapEvidence>,
    pub functional: Option<FunctionalEvidence>,
    /// Everything this method spent, selection included.
    pub cost: Cost,
    pub seconds: f64,
}

/// A figure on the validation split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    pub step: usize,
    pub accuracy: f64,
    pub loss: f64,
}

impl Score {
    fn of(step: usize, evaluation: &Evaluation) -> Self {
        Self { step, accuracy: evaluation.accuracy, loss: evaluation.loss }
    }
}

/// How a candidate is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    pub step: Step,
    pub alpha: Alpha,
}

/// Chooses step and α. Ties go to the later step and to α = 1; without validation the last step
/// and α = 1 are taken.
///
/// # Errors
/// When the caller interrupts.
pub fn select(
    method: Method,
    problem: &Problem,
    alignment: Alignment,
    selection: Selection,
) -> Result<Candidate, TransferError> {
    let mut pick = Pick::unseen(problem, selection.alpha);
    let (mut steps, mut alphas) = (Vec::new(), Vec::new());
    if let Some(validation) = problem.validation {
        let trials = Trials { problem, validation, transports: &alignment.transports };
        steps = trials.over_steps(&mut pick, selection.step)?;
        if matches!(selection.alpha, Alpha::Search) {
            alphas = trials.over_alphas(&mut pick)?;
        }
    }

    let Pick { step, alpha, best } = pick;
    let transport = alignment.transports[step - 1].clone();
    let (model, validation) = match best {
        Some(trial) => (trial.model, Some(trial.evaluation)),
        None => (problem.finished(&transport, step, alpha), None),
    };

    let Alignment { evidence, groups, mask, maps, functional, .. } = alignment;
    Ok(Candidate {
        method,
        step,
        alpha,
        orthogonal_shift: problem.orthogonal_shift,
        transport,
        model,
        validation,
        steps,
        alphas,
        evidence,
        groups,
        builds_on: None,
        mask,
        maps,
        functional,
        cost: Cost::default(),
        seconds: 0.0,
    })
}

/// What is tried on the validation split.
struct Trials<'a> {
    problem: &'a Problem<'a>,
    validation: &'a Dataset,
    transports: &'a [Transport],
}

impl Trials<'_> {
    /// Every step at the pick's α. The best is picked, or the last where that is wanted.
    fn over_steps(&self, pick: &mut Pick, wanted: Step) -> Result<Vec<Score>, TransferError> {
        let (timesteps, alpha) = (self.transports.len(), pick.alpha);
        let mut scores = Vec::with_capacity(timesteps);
        for step in 1..=timesteps {
            self.problem.step(step - 1, timesteps)?;
            let trial = self.run(step, alpha);
            scores.push(Score::of(step, &trial.evaluation));
            let eligible = wanted == Step::Best || step == timesteps;
            if eligible && pick.is_reached_by(&trial.evaluation) {
                *pick = Pick { step, alpha, best: Some(trial) };
            }
        }
        Ok(scores)
    }

    /// Every α at the picked step; that of 1 is there already.
    fn over_alphas(&self, pick: &mut Pick) -> Result<Vec<(f64, Score)>, TransferError> {
        let (timesteps, step) = (self.transports.len(), pick.step);
        let known = pick.best.as_ref().map(|trial| Score::of(step, &trial.evaluation));
        let mut scores = Vec::with_capacity(ALPHAS.len());

        for alpha in ALPHAS {
            self.problem.step(timesteps, timesteps)?;
            if let Some(score) = known.filter(|_| alpha.to_bits() == 1f64.to_bits()) {
                scores.push((alpha, score));
                continue;
            }
            let trial = self.run(step, alpha);
            scores.push((alpha, Score::of(step, &trial.evaluation)));
            if pick.is_beaten_by(&trial.evaluation) {
                *pick = Pick { step, alpha, best: Some(trial) };
            }
        }

        Ok(scores)
    }

    fn run(&self, step: usize, alpha: f64) -> Trial {
        let problem = self.problem;
        let model = problem.finished(&self.transports[step - 1], step, alpha);
        let evaluation = problem
            .ledger
            .time(Work::Evaluation, || problem.learner.evaluate(&model, self.validation));
        Trial { model, evaluation }
    }
}

/// A model that was evaluated.
struct Trial {
    model: Checkpoint,
    evaluation: Evaluation,
}

/// What is the best so far.
struct Pick {
    step: usize,
    alpha: f64,
    best: Option<Trial>,
}

impl Pick {
    /// The last step, and α as it is given: what stands where nothing chooses.
    fn unseen(problem: &Problem, alpha: Alpha) -> Self {
        let alpha = match alpha {
            Alpha::Fixed(alpha) => alpha,
            Alpha::Search => 1.0,
        };
        Self { step: problem.trajectory.timesteps(), alpha, best: None }
    }

    fn is_reached_by(&self, other: &Evaluation) -> bool {
        self.best.as_ref().is_none_or(|best| other.accuracy >= best.evaluation.accuracy)
    }

    fn is_beaten_by(&self, other: &Evaluation) -> bool {
        self.best.as_ref().is_some_and(|best| other.accuracy > best.evaluation.accuracy)
    }
}
