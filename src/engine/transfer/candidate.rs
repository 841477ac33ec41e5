//! From an alignment to one model: the best step, then the best α, by validation.

use serde::Serialize;

use super::{
    Alignment, Evidence, Problem, TransferError, Transport,
    methods::{GroupEvidence, gradfix::Mask, layer_maps::MapEvidence},
};
use crate::{
    engine::{
        learning::{Cost, Dataset, Evaluation},
        ledger::Work,
        network::Checkpoint,
    },
    spec::{Alpha, Method, Step},
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
    let timesteps = problem.trajectory.timesteps();
    let fixed_alpha = match selection.alpha {
        Alpha::Fixed(alpha) => alpha,
        Alpha::Search => 1.0,
    };
    let mut pick = Pick { step: timesteps, alpha: fixed_alpha, best: None };
    let mut steps = Vec::new();
    let mut alphas = Vec::new();
    if let Some(validation) = problem.validation {
        for step in 1..=timesteps {
            problem.step(step - 1, timesteps)?;
            let transport = &alignment.transports[step - 1];
            let trial = Trial::run(problem, validation, transport, (step, fixed_alpha));
            steps.push(Score::of(step, &trial.evaluation));
            let eligible = selection.step == Step::Best || step == timesteps;
            if eligible && pick.is_reached_by(&trial.evaluation) {
                pick = Pick { step, alpha: fixed_alpha, best: Some(trial) };
            }
        }
        if matches!(selection.alpha, Alpha::Search) {
            let transport = &alignment.transports[pick.step - 1];
            for alpha in ALPHAS {
                problem.step(timesteps, timesteps)?;
                let trial = match &pick.best {
                    Some(_) if alpha.to_bits() == 1f64.to_bits() => None,
                    _ => Some(Trial::run(problem, validation, transport, (pick.step, alpha))),
                };
                let score = trial
                    .as_ref()
                    .or(pick.best.as_ref())
                    .map(|t| Score::of(pick.step, &t.evaluation));
                alphas.extend(score.map(|score| (alpha, score)));
                if let Some(trial) = trial.filter(|t| pick.is_beaten_by(&t.evaluation)) {
                    pick = Pick { alpha, best: Some(trial), ..pick };
                }
            }
        }
    }
    let transport = alignment.transports[pick.step - 1].clone();
    let (model, validation) = match pick.best {
        Some(trial) => (trial.model, Some(trial.evaluation)),
        None => (problem.finished(&transport, pick.step, pick.alpha), None),
    };
    let Alignment { evidence, groups, mask, maps, .. } = alignment;
    let (step, alpha) = (pick.step, pick.alpha);
    let (cost, seconds) = (Cost::default(), 0.0);
    Ok(Candidate {
        method,
        step,
        alpha,
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
        cost,
        seconds,
    })
}

/// A model that was evaluated.
struct Trial {
    model: Checkpoint,
    evaluation: Evaluation,
}

impl Trial {
    fn run(
        problem: &Problem,
        validation: &Dataset,
        transport: &Transport,
        (step, alpha): (usize, f64),
    ) -> Self {
        let model = problem.finished(transport, step, alpha);
        let evaluate = || problem.learner.evaluate(&model, validation);
        let evaluation = problem.ledger.book(Work::Evaluation, evaluate);
        Self { model, evaluation }
    }
}

struct Pick {
    step: usize,
    alpha: f64,
    best: Option<Trial>,
}

impl Pick {
    fn is_reached_by(&self, other: &Evaluation) -> bool {
        self.best.as_ref().is_none_or(|best| other.accuracy >= best.evaluation.accuracy)
    }

    fn is_beaten_by(&self, other: &Evaluation) -> bool {
        self.best.as_ref().is_some_and(|best| other.accuracy > best.evaluation.accuracy)
    }
}
